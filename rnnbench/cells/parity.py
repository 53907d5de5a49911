"""The gate before the clock: a cell is timed only where it computes what its reference computes.

Outputs, final state and the gradients of the input, the initial state and every parameter are compared, each by its
largest absolute error relative to the largest value in the reference's tensor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rnnbench.cells.states import State, tensors
from rnnbench.store.records import DType

# Largest relative error allowed. Below float64 the two sides round differently at every step, and gradients of
# weights sum the difference over time and batch; a wrong gate or a missing bias is off by 1e-1 and more.
TOLERANCES: dict[DType, float] = {
    "float64": 1e-9,
    "float32": 1e-4,
    "tf32": 2e-2,  # ten bits of mantissa in the products, as float16 has
    "float16": 2e-2,
    "bfloat16": 1e-1,
}

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Compared:
    """What is held against the reference beside the output."""

    gradients: Literal["all", "parameters", "none"] = "all"  # all: of the input and the initial state too
    final_state: bool = True


ALL = Compared()


def cell_weights(cell: nn.Module, reference: Weights, *, whole: bool = False) -> dict[str, Tensor]:
    """The cell's parameters as a differentiable function of those of a torch.nn layer.

    A cell with other parameters than torch's own cells says how in `weights_from(reference)`. `whole`: it is a module
    that runs the whole sequence, and torch's own layers set the names.
    """
    mapping = getattr(cell, "weights_from", None)
    if mapping is not None:
        mapped: dict[str, Tensor] = mapping(reference)
        return mapped
    return {name if whole else name.removesuffix("_l0"): weight for name, weight in reference.items()}


def errors(
    candidate: nn.Module,
    reference: nn.Module,
    mapping: Callable[[Weights], dict[str, Tensor]],
    input: Tensor,
    state: State,
    compared: Compared = ALL,
) -> dict[str, float]:
    """Relative error of everything that is compared, by name; NaN where either side is not finite.

    Both modules map `(input, layer state) -> (output, layer state)`; `mapping` gives the candidate's parameters from
    the reference's, and the candidate must hold just those already.
    """
    expected = _run(reference, input, state, compared)
    found = _run(candidate, input, state, compared)
    if compared.gradients != "none":
        # The candidate's gradients, pulled back through the mapping, are those of the reference's parameters.
        weights = {name: weight.detach().requires_grad_() for name, weight in reference.named_parameters()}
        pulled = _pulled_back(candidate, mapping, weights)
        for name, parameter, grad in zip(weights, reference.parameters(), pulled, strict=True):
            own = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            expected[f"gradient of {name}"] = own
            found[f"gradient of {name}"] = grad
    for module in (candidate, reference):
        module.zero_grad(set_to_none=True)
    return {name: _relative_error(found[name], expected[name]) for name in expected}


def _pulled_back(
    candidate: nn.Module, mapping: Callable[[Weights], dict[str, Tensor]], weights: Weights
) -> Sequence[Tensor]:
    """The gradients that the candidate holds as gradients of the reference's parameters."""
    mapped = mapping(weights)
    parameters = dict(candidate.named_parameters())
    if mapped.keys() != parameters.keys():
        raise KeyError(f"the weight mapping gives {sorted(mapped)}, the cell has {sorted(parameters)}")
    own = [parameters[name].grad for name in mapped]
    unused = [name for name, grad in zip(mapped, own, strict=True) if grad is None]
    if unused:
        raise ValueError(f"no gradient reaches {', '.join(unused)}")
    # What the mapping makes of nothing (zeros for a bias of its own, say) has no gradient to pull back.
    differentiable = [(weight, grad) for weight, grad in zip(mapped.values(), own, strict=True) if weight.requires_grad]
    outputs, grads = zip(*differentiable, strict=True)
    return torch.autograd.grad(outputs, list(weights.values()), grads, materialize_grads=True)


def _run(module: nn.Module, input: Tensor, state: State, compared: Compared) -> dict[str, Tensor]:
    """What is compared, without the gradients of parameters, which are left in place."""
    if compared.gradients == "none":
        with torch.inference_mode():
            return _results(module(input, state), compared)
    module.zero_grad(set_to_none=True)
    leaves = (input, *tensors(state))
    if compared.gradients == "all":
        leaves = tuple(part.detach().clone().requires_grad_() for part in leaves)
    results = _results(module(leaves[0], leaves[1] if isinstance(state, Tensor) else leaves[1:]), compared)
    # Where only parameters' gradients are wanted, what is timed takes them of the output alone.
    directed = list(results.values()) if compared.gradients == "all" else [results["output"]]
    generator = torch.Generator(device=input.device).manual_seed(1)
    directions = [
        torch.randn(part.shape, generator=generator, device=part.device, dtype=part.dtype) for part in directed
    ]
    torch.autograd.backward(directed, directions)
    if compared.gradients == "all":
        results |= {
            f"gradient of {name}": leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
            for name, leaf in zip(("input", "initial h", "initial c"), leaves, strict=False)
        }
    return {name: part.detach() for name, part in results.items()}


def _results(given: tuple[Tensor, State], compared: Compared) -> dict[str, Tensor]:
    output, final = given
    results = {"output": output}
    if compared.final_state:
        results |= {f"final {name}": part for name, part in zip("hc", tensors(final), strict=False)}
    return results


def _relative_error(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        raise ValueError(f"shape {tuple(found.shape)} where the reference has {tuple(expected.shape)}")
    # Below its type's smallest normal number a value has few digits or none: a gradient far back in time, say.
    scale = expected.double().abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return float((found.double() - expected.double()).abs().max() / scale)

"""The gate before the clock: a cell is timed only where it computes what its reference computes.

Outputs, final state and the gradients of the input, the initial state and every parameter are compared, each by its
largest absolute error relative to the largest value in the reference's tensor.
"""

from collections.abc import Callable, Mapping

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


def cell_weights(cell: nn.Module, reference: Weights) -> dict[str, Tensor]:
    """The cell's parameters as a differentiable function of those of a torch.nn layer.

    A cell with other parameters than torch's own cells says how in `weights_from(reference)`.
    """
    mapping = getattr(cell, "weights_from", None)
    if mapping is not None:
        mapped: dict[str, Tensor] = mapping(reference)
        return mapped
    return {name.removesuffix("_l0"): weight for name, weight in reference.items()}


def errors(
    candidate: nn.Module,
    reference: nn.Module,
    mapping: Callable[[Weights], dict[str, Tensor]],
    input: Tensor,
    state: State,
) -> dict[str, float]:
    """Relative error of everything that is compared, by name; NaN where either side is not finite.

    Both modules map `(input, layer state) -> (output, layer state)`; `mapping` gives the candidate's parameters from
    the reference's, and the candidate must hold just those already.
    """
    expected = _run(reference, input, state)
    found = _run(candidate, input, state)

    # The candidate's gradients, pulled back through the mapping, are those of the reference's parameters.
    weights = {name: weight.detach().requires_grad_() for name, weight in reference.named_parameters()}
    mapped = mapping(weights)
    parameters = dict(candidate.named_parameters())
    if mapped.keys() != parameters.keys():
        raise KeyError(f"the weight mapping gives {sorted(mapped)}, the cell has {sorted(parameters)}")
    own = [parameters[name].grad for name in mapped]
    unused = [name for name, grad in zip(mapped, own, strict=True) if grad is None]
    if unused:
        raise ValueError(f"no gradient reaches {', '.join(unused)}")
    pulled = torch.autograd.grad(list(mapped.values()), list(weights.values()), own)

    for name, parameter, grad in zip(weights, reference.parameters(), pulled, strict=True):
        expected[f"gradient of {name}"] = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        found[f"gradient of {name}"] = grad
    for module in (candidate, reference):
        module.zero_grad(set_to_none=True)
    return {name: _relative_error(found[name], expected[name]) for name in expected}


def _run(module: nn.Module, input: Tensor, state: State) -> dict[str, Tensor]:
    """Outputs, final state and the gradients of input and initial state; parameters' gradients are left in place."""
    module.zero_grad(set_to_none=True)
    input = input.detach().clone().requires_grad_()
    leaves = tuple(part.detach().clone().requires_grad_() for part in tensors(state))
    output, final = module(input, leaves[0] if isinstance(state, Tensor) else leaves)
    results = {"output": output}
    results |= {f"final {name}": part for name, part in zip("hc", tensors(final), strict=False)}
    generator = torch.Generator(device=input.device).manual_seed(1)
    directions = [
        torch.randn(part.shape, generator=generator, device=part.device, dtype=part.dtype) for part in results.values()
    ]
    torch.autograd.backward(list(results.values()), directions)
    results |= {
        f"gradient of {name}": leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
        for name, leaf in zip(("input", "initial h", "initial c"), (input, *leaves), strict=False)
    }
    return {name: part.detach() for name, part in results.items()}


def _relative_error(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        raise ValueError(f"shape {tuple(found.shape)} where the reference has {tuple(expected.shape)}")
    scale = expected.double().abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return float((found.double() - expected.double()).abs().max() / scale)

"""The parity check: a cell is timed only if it computes what its reference computes.

Outputs, final state and the gradients of the input, the initial state and every parameter are compared, each by its
largest absolute error relative to the largest value in the reference's tensor.

`allowed` says how much error is allowed. u is half the distance from 1 to the next number of a type: 2**-24 in float32,
2**-11 in float16, 2**-8 in bfloat16.

- Outputs, states, and the gradients of inputs and states are computed anew in each step, and the errors of earlier
  steps fade with the state. So the error is a few u at every length: `TOLERANCES`, which leaves room for stacked layers
  and for kernels that round elsewhere.
- The gradient of a parameter is a sum over all steps. A loop adds the n terms one by one: after t terms of size s and
  random sign the sum is about s sqrt(t), and each addition rounds it by up to u s sqrt(t). These errors add up to about
  0.3 u s n, while the sum itself is about s sqrt(n), so the relative error is 0.3 u sqrt(n). The largest error of a
  whole matrix counts, and both sides may round: up to 2 u sqrt(n) (`SAFETY`).
- In float16 and bfloat16 n is the number of steps, since one step's product over the batch is summed in float32 and
  rounded once. In float32 and float64 the batch is summed in the same type, so n is steps times batch.
- The few values of a small layer's bias may all end near zero by chance, but their error does not. The tolerance grows
  by sqrt(32 / values) below 32 values (`MANY_VALUES`). In 4,000 simulated sums of 8 values the error stayed below 0.6
  of that.
- No tolerance exceeds `MAX_TOLERANCE`: a gradient that is zero where it should not be has an error of 1.

With a wrong gate, swapped gates or a stale state, outputs or the final state are off by 1e-1 or more; an unused bias
has a gradient of zero. If gradients are not compared (a user's class in inference), a missing small bias may hide below
the tolerance of outputs in float16 or bfloat16.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnbench.cells.states import State, in_precision, leaves, tensor_names
from rnnbench.store.records import DType

# Largest relative error allowed for values that each step computes anew. Below float64 the two sides round differently
# at every step.
TOLERANCES: dict[DType, float] = {
    "float64": 1e-9,
    "float32": 1e-4,
    "tf32": 2e-2,  # ten bits of mantissa in the products, as float16 has
    "float16": 2e-2,
    "bfloat16": 1e-1,
}

# u of the type in which terms are added.
ROUNDOFF: dict[DType, float] = {
    "float64": 2**-53,
    "float32": 2**-24,
    "tf32": 2**-24,  # factors are rounded to ten bits, sums are not
    "float16": 2**-11,
    "bfloat16": 2**-8,
}
SUMMED_IN_FLOAT32: tuple[DType, ...] = ("float16", "bfloat16")  # within one product
SAFETY = 2.0
MANY_VALUES = 32  # in a vector, so that the largest of them is far from zero
MAX_TOLERANCE = 0.7

Weights = Mapping[str, Tensor]


Gradients = Literal["all", "parameters", "none"]  # that are compared; all: also those of input and initial state
Compared = tuple[nn.Module, Callable[..., tuple[Tensor, State]]]  # a module, and its call with (input, layer state)


def allowed(name: str, dtype: DType, *, steps: int, batch: int, hidden: int, output: int) -> float:
    """Return the tolerance for the error that `errors` returns under this name, for a workload of these sizes.

    `output`: the values of the head's bias.
    """
    base, summed = TOLERANCES[dtype], name.removeprefix("gradient of ")
    if summed in (name, "input") or summed.startswith("initial "):  # computed anew in each step
        return base
    terms = steps * (1 if dtype in SUMMED_IN_FLOAT32 else batch)
    few_values = max(1.0, math.sqrt(MANY_VALUES / (output if summed.startswith("head.") else hidden)))
    return max(base, min(SAFETY * few_values * ROUNDOFF[dtype] * math.sqrt(terms), MAX_TOLERANCE))


def errors(
    candidate: Compared,
    reference: Compared,
    mapping: Callable[[Weights], Any],
    input: Tensor,
    state: State,
    *,
    gradients: Gradients = "all",
    final_state: bool = True,
) -> dict[str, float]:
    """Return the relative error of everything that is compared, by name; NaN if either side is not finite.

    `mapping` gives the candidate's parameters from the reference's, and the candidate must already hold exactly these.
    """
    expected = _run(reference, input, state, gradients, final_state)
    weights: dict[str, Tensor] = {}
    unreached: list[Tensor] = []
    if gradients != "none":
        for name, parameter in reference[0].named_parameters():
            weights[name] = parameter.detach().requires_grad_()
            if parameter.grad is None:  # a frozen one, for example
                unreached.append(weights[name])
            expected[f"gradient of {name}"] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    reference[0].zero_grad(set_to_none=True)
    actual = _run(candidate, input, state, gradients, final_state)
    if gradients != "none":
        pulled = _pulled_back(candidate[0], mapping(weights), weights, unreached)
        actual |= {f"gradient of {name}": grad for name, grad in zip(weights, pulled, strict=True)}
    candidate[0].zero_grad(set_to_none=True)
    return {name: relative_error(actual[name], part) for name, part in expected.items()}


def _pulled_back(
    candidate: nn.Module, mapped: Weights, weights: Weights, unreached: Sequence[Tensor]
) -> Sequence[Tensor]:
    """The candidate's gradients, pulled back through the mapping: as those of the reference's parameters.

    `unreached`: the weights that get no gradient in the reference either, such as frozen ones.
    """
    parameters = dict(candidate.named_parameters())
    pairs, unused = [], []
    for name, weight in mapped.items():
        grad = parameters[name].grad
        if grad is None and not any(weight is each for each in unreached):
            unused.append(name)
        if grad is not None and weight.requires_grad:  # else it is made from no weight: zeros for an extra bias, say
            pairs.append((weight, grad))
    if unused:
        raise ValueError(f"no gradient reaches {', '.join(unused)}")
    outputs, grads = zip(*pairs, strict=True)
    return torch.autograd.grad(outputs, list(weights.values()), grads, materialize_grads=True)


def _run(side: Compared, input: Tensor, state: State, gradients: Gradients, final_state: bool) -> dict[str, Tensor]:
    """What is compared, without the gradients of parameters, which stay on the module."""
    module, run = side
    module.zero_grad(set_to_none=True)
    given = (input, *leaves(state))
    if gradients == "all":
        given = tuple(
            part.detach().clone().requires_grad_(part.is_floating_point() or part.is_complex()) for part in given
        )
    with torch.inference_mode() if gradients == "none" else nullcontext():
        output, final = run(given[0], given[1] if isinstance(state, Tensor) else given[1:])
        parts = leaves(final) if final_state else ()
        names = [f"final {name}" for name in tensor_names(len(parts))]
        results = {"output": output, **dict(zip(names, parts, strict=False))}
        read = {name: part.detach().clone() for name, part in results.items()}  # at once: a thread may go on working
    if gradients == "none":
        return read
    # If only gradients of parameters are compared, they are those of the output alone, as in the timed call.
    directed = list(results.values()) if gradients == "all" else [output]
    generator = torch.Generator(device=input.device).manual_seed(1)
    directions = [
        torch.randn(part.shape, generator=generator, device=part.device, dtype=part.dtype) for part in directed
    ]
    torch.autograd.backward(directed, directions)
    if gradients == "all":
        names = ["input", *(f"initial {name}" for name in tensor_names(len(given) - 1))]
        read |= {
            f"gradient of {name}": leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
            for name, leaf in zip(names, given, strict=True)
            if leaf.requires_grad  # tokens have none
        }
    return read


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """The largest absolute error relative to the largest value of `expected`; raises ValueError if shapes differ."""
    if actual.shape != expected.shape:
        raise ValueError(f"shape {tuple(actual.shape)} where the reference has {tuple(expected.shape)}")
    # Values below the type's smallest normal number have few digits or none: a gradient far back in time, say.
    is_whole = not (expected.is_floating_point() or expected.is_complex())
    tiny = 1.0 if is_whole else torch.finfo(expected.dtype).tiny
    actual, expected = (part.double() if is_whole else in_precision(part, torch.float64) for part in (actual, expected))
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(tiny))

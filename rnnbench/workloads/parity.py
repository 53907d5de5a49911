"""The parity check: whether a built case computes what its reference computes, before it is timed and again afterwards.

What agrees before the clock starts may stop to do its work afterwards: it may return kept results, return early, or
leave the work to a thread. So the inputs get new values at the same addresses, and the worker that timed the case calls
it in the form in which it was timed.

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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnbench.cells import is_own
from rnnbench.cells.states import State, in_precision, leaves
from rnnbench.cells.weights import Weights
from rnnbench.store.implementations import GRAPH_BACKENDS, ROW_OF, Implementation
from rnnbench.store.records import (
    DType,
    Workload,
    computed_in,
)
from rnnbench.workloads.model import Cells, SequenceModel, model_weights
from rnnbench.workloads.phases import PHASE_MODES, StepStream, TimedCall, in_turn
from rnnbench.workloads.prepare import Built

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

Gradients = Literal["all", "parameters", "none"]  # that are compared; all: also those of input and initial state
Compared = tuple[nn.Module, Callable[..., tuple[Tensor, State]]]  # a module, and its call with (input, layer state)

# Implementations that fix the computation, gradients included, for one kind of call.
FIXED_GRAPHS: tuple[Implementation, ...] = tuple(GRAPH_BACKENDS)
STREAMED_STEPS = 16  # after which two streams are compared
UNSEEN = "unseen"  # seed of values that no window has


class ParityError(Exception):
    """The case does not compute what its reference computes."""


def allowed(name: str, dtype: DType, *, steps: int, batch: int, hidden: int, output: int) -> float:
    """Return the tolerance for the error that `errors` returns under this name, for a workload of these sizes.

    `output`: the values of the head's bias.
    """
    dtype = computed_in(dtype)
    base = TOLERANCES[dtype]
    summed = name.removeprefix("gradient of ")
    if summed in (name, "input") or summed.startswith("initial "):  # computed anew in each step
        return base
    terms = steps * (1 if dtype in SUMMED_IN_FLOAT32 else batch)
    few_values = max(1.0, math.sqrt(MANY_VALUES / (output if summed.startswith("head.") else hidden)))
    return max(base, min(SAFETY * few_values * ROUNDOFF[dtype] * math.sqrt(terms), MAX_TOLERANCE))


def check_errors(
    relative_errors: Mapping[str, float], dtype: DType, whose: str = "the reference's", **sizes: int
) -> None:
    """Raise ParityError if an error is not `allowed` for these sizes; it names the one furthest beyond its tolerance.

    The errors are relative to `whose` largest value.
    """
    tolerances = {name: allowed(name, dtype, **sizes) for name in relative_errors}
    shares = {name: error / tolerances[name] for name, error in relative_errors.items()}
    worst = max(shares, key=lambda name: math.inf if math.isnan(shares[name]) else shares[name])
    if math.isnan(shares[worst]):
        raise ParityError(f"{worst} has NaN or infinite values")
    if shares[worst] > 1:
        raise ParityError(
            f"{worst} is off by {relative_errors[worst]:.1e} of {whose} largest value; "
            f"{tolerances[worst]:.0e} is allowed ({dtype})"
        )


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
    expected, wanted = _run(reference, input, state, gradients, final_state)
    actual, gradients_of_candidate = _run(candidate, input, state, gradients, final_state)
    if gradients != "none":
        weights = {name: weight.detach().requires_grad_() for name, weight in reference[0].named_parameters()}
        pulled = _pulled_back(gradients_of_candidate, mapping(weights), weights, wanted)
        for name, weight in weights.items():
            expected[f"gradient of {name}"] = torch.zeros_like(weight) if wanted[name] is None else wanted[name]
            actual[f"gradient of {name}"] = pulled[name]
    return {name: relative_error(actual[name], part) for name, part in expected.items()}


def _pulled_back(
    results: Mapping[str, Any], mapped: Weights, weights: Weights, wanted: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Pull the gradients in the candidate's `results` back through the mapping, to those of the reference's `weights`.

    The gradients `wanted` of the reference's are None for those that no gradient reaches there either: frozen ones.
    """
    frozen = [id(weight) for name, weight in weights.items() if wanted[name] is None]
    if unused := [name for name, weight in mapped.items() if results[name] is None and id(weight) not in frozen]:
        raise ValueError(f"no gradient reaches {', '.join(unused)}")
    # A weight that needs none is made from no weight of the reference: zeros for an extra bias, say.
    reached = [name for name, weight in mapped.items() if results[name] is not None and weight.requires_grad]
    outputs = [mapped[name] for name in reached]
    grads = [results[name] for name in reached]
    pulled = torch.autograd.grad(outputs, list(weights.values()), grads, materialize_grads=True)
    return dict(zip(weights, pulled, strict=True))


def _names(count: int) -> list[str]:
    """Return names for the tensors of a state; the first is what the cell shows."""
    return ["h", "c"] if count == 2 else ["h", *(f"state {index}" for index in range(1, count))]


def _run(
    side: Compared, input: Tensor, state: State, gradients: Gradients, final_state: bool
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the compared tensors by name, and the gradients of the module's parameters; None if none reaches one."""
    module, run = side
    module.zero_grad(set_to_none=True)
    tensors = (input, *leaves(state))
    if gradients == "all":
        tensors = tuple(
            part.detach().clone().requires_grad_(part.is_floating_point() or part.is_complex()) for part in tensors
        )
    with torch.inference_mode() if gradients == "none" else nullcontext():
        output, final = run(tensors[0], tensors[1] if isinstance(state, Tensor) else tensors[1:])
        parts = leaves(final) if final_state else ()
        names = [f"final {name}" for name in _names(len(parts))]
        results = {"output": output, **dict(zip(names, parts, strict=False))}
        read = {name: part.detach().clone() for name, part in results.items()}  # at once: a thread may go on working
    if gradients == "none":
        return read, {}
    # If only gradients of parameters are compared, they are those of the output alone, as in the timed call.
    directed = list(results.values()) if gradients == "all" else [output]
    generator = torch.Generator(device=input.device).manual_seed(1)
    directions = [
        torch.randn(part.shape, generator=generator, device=part.device, dtype=part.dtype) for part in directed
    ]
    torch.autograd.backward(directed, directions)
    if gradients == "all":
        names = ["input", *(f"initial {name}" for name in _names(len(tensors) - 1))]
        read |= {
            f"gradient of {name}": leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
            for name, leaf in zip(names, tensors, strict=True)
            if leaf.requires_grad  # tokens have none
        }
    reached = {name: parameter.grad for name, parameter in module.named_parameters()}
    module.zero_grad(set_to_none=True)
    return read, reached


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Return the largest absolute error over the largest value of `expected`; raises ValueError if shapes differ."""
    if actual.shape != expected.shape:
        raise ValueError(f"shape {tuple(actual.shape)} where the reference has {tuple(expected.shape)}")
    # Values below the type's smallest normal number have few digits or none: a gradient far back in time, say.
    is_whole = not (expected.is_floating_point() or expected.is_complex())
    tiny = 1.0 if is_whole else torch.finfo(expected.dtype).tiny
    actual = actual.double() if is_whole else in_precision(actual, torch.float64)
    expected = expected.double() if is_whole else in_precision(expected, torch.float64)
    return float((actual - expected).abs().max() / expected.abs().max().clamp_min(tiny))


def largest_error(built: Built, input: Tensor, *, as_timed: bool, whose: str = "the reference's") -> float:
    """Compare a case with its reference on an input; returns the largest relative error. Raises ParityError.

    `as_timed`: in exactly the form that is timed, so that a call without gradients is compared without any.
    """
    timed: Gradients = "none" if built.case.workload.phase == "inference" else "parameters"
    # A compiled or recorded graph is always compared in that form. A class that supports no gradients may be timed in a
    # phase that takes none.
    as_timed |= built.case.implementation in FIXED_GRAPHS or (is_own(built.case.cell) and timed == "none")
    gradients: Gradients = timed if as_timed else "all"
    has_final_state = not ROW_OF[built.case.implementation].is_padded
    model = built.model
    reference = built.reference
    with comparable(model, gradients != "none"), comparable(reference, gradients != "none"):
        errors_by_name = errors(
            (model, partial(model.on_layer_state, built.runner())),  # a recording is made here
            (reference, partial(reference.on_layer_state, reference)),
            partial(model_weights, model),
            input,
            built.layer_state,
            gradients=gradients,
            final_state=has_final_state,
        )
    _check(errors_by_name, built.case.workload, whose)
    return max(errors_by_name.values())


def _check(relative_errors: Mapping[str, float], workload: Workload, whose: str = "the reference's") -> None:
    check_errors(
        relative_errors,
        workload.dtype,
        whose,
        steps=max(workload.input_steps, workload.output_steps),
        batch=workload.batch_size,
        hidden=workload.hidden_size,
        output=workload.output_size,
    )


@contextmanager
def comparable(model: SequenceModel, takes_gradients: bool) -> Iterator[None]:
    """Turn dropout off, since the two sides draw different numbers. Not by `eval`, in which cuDNN has no backward."""
    with ExitStack() as put_back:
        for body in model.bodies:
            owner: Any = body if isinstance(body, Cells) else body.layer
            if isinstance(owner, Cells | nn.RNNBase):  # a user's own module has no dropout between its layers
                put_back.callback(setattr, owner, "dropout", owner.dropout)
                owner.dropout = 0.0
        if not model.training and takes_gradients:
            put_back.callback(model.eval)
            model.train()
        yield


def compare(built: Built, timed: TimedCall, reference: Callable[[], Built], anew: Callable[[], Built]) -> None:
    """Compare a timed case with its reference again, on values that it has not seen; raises ParityError.

    `reference` builds the reference, and `anew` the case; each only where it is needed: neither is in memory while
    anything is timed.
    """
    if built.case.is_reference:
        return
    inputs = timed.inputs or in_turn(built.input)
    inputs.renew(UNSEEN)
    input = inputs.tensors[0]
    if built.unequal:
        _compare_with_new(built, input, anew)
        return
    model = reference().model
    largest_error(replace(built, reference=model), input, as_timed=True)
    if built.case.workload.task != "streaming":
        return
    # Each side takes some steps with the state that it carries over, and the last ones are compared.
    with comparable(built.model, takes_gradients=False), PHASE_MODES["inference"]():
        stream = StepStream(built.runner(), [input], built.state)
        expected = StepStream(partial(model.on_layer_state, model), [input], built.layer_state)
        for _ in range(STREAMED_STEPS):
            output = stream.step()
            wanted = expected.step()
    name = f"output of step {STREAMED_STEPS}"
    _check({name: relative_error(output, wanted)}, replace(built.case.workload, seq_len=STREAMED_STEPS))


def _compare_with_new(built: Built, input: Tensor, anew: Callable[[], Built]) -> None:
    """Check a timed case that can't be compared with its reference; raises ParityError.

    Its output must be finite. In inference it must also be that of a new instance, which `anew` builds with the same
    weights: nothing may depend on earlier calls. If two new instances differ, the case draws random numbers, and can't
    be checked. In training a case may keep statistics, and building a recorded or compiled case takes too long.
    """
    output = _output(built, input)
    if not bool(output.isfinite().all()):
        raise ParityError("output has NaN or infinite values")
    workload = built.case.workload
    if workload.phase != "inference" or built.case.implementation in GRAPH_BACKENDS:
        return
    instances = [anew(), anew()]  # both before the first call, since building a case seeds the random numbers anew
    expected, again = (_output(instance, input) for instance in instances)
    if torch.equal(expected, again):
        _check({"output": relative_error(output, expected)}, workload, "a new instance's")


def _output(built: Built, input: Tensor) -> Tensor:
    mode = PHASE_MODES["inference" if built.case.workload.phase == "inference" else "training"]
    with comparable(built.model, takes_gradients=False), mode():
        output: Tensor = built.runner()(input, built.state)[0]
        return output.detach().clone()

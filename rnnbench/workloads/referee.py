"""Whether a built case computes what its reference computes: before it is timed, and again afterwards.

The referee: a case that has been timed is compared with its reference again, by the worker that timed it.

What agrees before the clock starts may stop to do its work afterwards: it may return kept results, return early, or
leave the work to a thread. So the inputs get new values at the same addresses, and the case is called in the form in
which it was timed.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells import is_own
from rnnbench.cells.parity import Gradients, allowed, errors, relative_error
from rnnbench.store.metrics import COMPILED
from rnnbench.store.records import GRAPH_BACKENDS, DType, Implementation, Workload
from rnnbench.workloads.model import Cells, SequenceModel, model_weights
from rnnbench.workloads.phases import MODES, StepStream, TimedCall, in_turn
from rnnbench.workloads.prepare import Built

# Implementations that fix the computation, gradients included, for one kind of call.
FIXED: tuple[Implementation, ...] = (*COMPILED, "cudagraph")
STREAMED_STEPS = 16  # after which two streams are compared
UNSEEN = "unseen"  # seed of values that no window has


class ParityError(Exception):
    """The case does not compute what its reference computes."""


def largest_error(built: Built, input: Tensor, *, as_timed: bool, whose: str = "the reference's") -> float:
    """Compare a case with its reference on an input; returns the largest relative error. Raises ParityError.

    `as_timed`: in exactly the form that is timed, so that a call without gradients is compared without any.
    """
    timed: Gradients = "none" if built.case.workload.phase == "inference" else "parameters"
    # A compiled or recorded graph is always compared in that form. A class that supports no gradients may be timed in a
    # phase that takes none.
    as_timed |= built.case.implementation in FIXED or (is_own(built.case.cell) and timed == "none")
    gradients: Gradients = timed if as_timed else "all"
    has_final_state = built.case.implementation != "torch.nn-padded"
    model, reference = built.model, built.reference
    with comparable(model, gradients != "none"), comparable(reference, gradients != "none"):
        found = errors(
            (model, partial(model.on_layer_state, built.runner())),  # a recording is made here
            (reference, partial(reference.on_layer_state, reference)),
            partial(model_weights, model),
            input,
            built.layer_state,
            gradients=gradients,
            final_state=has_final_state,
        )
    check_errors(found, built.case.workload, whose)
    return max(found.values())


def check_errors(relative_errors: Mapping[str, float], workload: Workload, whose: str = "the reference's") -> None:
    """Raise ParityError if an error is too large for this workload; see `check_tolerances`."""
    sizes = {
        "steps": max(workload.input_steps, workload.output_steps),
        "batch": workload.batch_size,
        "hidden": workload.hidden_size,
        "output": workload.output_size,
    }
    tolerances = {name: allowed(name, workload.dtype, **sizes) for name in relative_errors}
    check_tolerances(relative_errors, tolerances, workload.dtype, whose)


def check_tolerances(
    relative_errors: Mapping[str, float], tolerances: Mapping[str, float], dtype: DType, whose: str
) -> None:
    """Raise ParityError if an error is too large; it names the one that is furthest beyond its tolerance.

    The errors are relative to `whose` largest value.
    """
    shares = {name: error / tolerances[name] for name, error in relative_errors.items()}
    worst = max(shares, key=lambda name: math.inf if math.isnan(shares[name]) else shares[name])
    if math.isnan(shares[worst]):
        raise ParityError(f"{worst} has NaN or infinite values")
    if shares[worst] > 1:
        raise ParityError(
            f"{worst} is off by {relative_errors[worst]:.1e} of {whose} largest value; "
            f"{tolerances[worst]:.0e} is allowed ({dtype})"
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
    if not built.case.workload.is_streamed:
        return
    # Each side takes some steps with the state that it carries over, and the last ones are compared.
    with comparable(built.model, takes_gradients=False), MODES["inference"]():
        own = StepStream(built.runner(), [input], built.state)
        expected = StepStream(partial(model.on_layer_state, model), [input], built.layer_state)
        for _ in range(STREAMED_STEPS):
            output, wanted = own.step(), expected.step()
    name = f"output of step {STREAMED_STEPS}"
    check_errors({name: relative_error(output, wanted)}, replace(built.case.workload, seq_len=STREAMED_STEPS))


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
        check_errors({"output": relative_error(output, expected)}, workload, "a new instance's")


def _output(built: Built, input: Tensor) -> Tensor:
    mode = MODES["inference" if built.case.workload.phase == "inference" else "training"]
    with comparable(built.model, takes_gradients=False), mode():
        output: Tensor = built.runner()(input, built.state)[0]
        return output.detach().clone()

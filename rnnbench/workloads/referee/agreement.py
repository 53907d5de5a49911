"""Whether a built case computes what its reference computes: before it is timed, and again afterwards."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Literal

from torch import Tensor, nn

from rnnbench.cells import is_own
from rnnbench.cells.parity import (
    ComparedTensors,
    ReferenceRun,
    Sums,
    Tolerance,
    Weights,
    allowed,
    errors,
    relative_error,
)
from rnnbench.store.metrics import COMPILED
from rnnbench.store.records import Implementation, Phase, Workload
from rnnbench.workloads.bodies import Cells
from rnnbench.workloads.implementations import loop
from rnnbench.workloads.model import LayerStateModel, SequenceModel
from rnnbench.workloads.phases import MODES, fixed_direction
from rnnbench.workloads.prepare import Built
from rnnbench.workloads.streaming import StepStream
from rnnbench.workloads.tasks import feed_back
from rnnbench.workloads.weights import model_weights

# Implementations that fix the computation, gradients included, for one kind of call.
FIXED: tuple[Implementation, ...] = (*COMPILED, "cudagraph")
STREAMED_STEPS = 16  # after which two streams are compared
BELOW = "model."  # begins the names of parameters within a `LayerStateModel`
TIMED_GRADIENTS: dict[Phase, Literal["parameters", "none"]] = {
    "inference": "none",
    "training": "parameters",
    "step": "parameters",
    "epoch": "parameters",
}


class ParityError(Exception):
    """The case does not compute what its reference computes."""


def largest_error(built: Built, input: Tensor, *, as_timed: bool, runs: list[ReferenceRun] | None = None) -> float:
    """Compare a case with its reference on an input; returns the largest relative error. Raises ParityError.

    `as_timed`: in exactly the form that is timed, so that a call without gradients is compared without any. `runs`: of
    the same reference; one with these values is used in place of another call, and a new one is added.
    """
    timed = TIMED_GRADIENTS[built.case.workload.phase]
    # A compiled or recorded graph is always compared in that form. A class that supports no gradients may be timed in a
    # phase that takes none.
    as_timed |= built.case.implementation in FIXED or (is_own(built.case.cell) and timed == "none")
    compared = ComparedTensors(
        gradients=timed if as_timed else "all",
        final_state=built.case.implementation != "torch.nn-padded",
    )
    takes_gradients = compared.gradients != "none"
    model = built.model
    with comparable(model, takes_gradients), comparable(built.reference, takes_gradients):
        candidate = in_layer_form(model, built.runner() if built.is_of_cells else model)  # a recording is made here
        reference = in_layer_form(built.reference, built.reference)
        mapping = partial(_mapped, model, is_below=candidate is not model)
        runs = [] if runs is None else runs
        known = (run for run in runs if run.is_for(input, built.layer_state, compared))
        if (run := next(known, None)) is None:
            run = ReferenceRun.of(reference, input, built.layer_state, compared)
            runs.append(run)
        found = errors(candidate, run, mapping, input, built.layer_state)
    relative_errors = {name.replace(f" {BELOW}", " ", 1): error for name, error in found.items()}
    check_errors(relative_errors, built.case.workload)
    return max(relative_errors.values())


def largest_error_to_loop(built: Built) -> float:
    """Compare a case with a loop over its own cells, as it is timed; returns the largest relative error.

    For a cell that can't be compared with a reference. Raises ParityError.
    """
    phase: Phase = "inference" if built.case.workload.phase == "inference" else "training"
    model = built.model
    bodies = [body for body in model.bodies if isinstance(body, Cells)]
    runs, own_feed_back = [body.run for body in bodies], model.feed_back
    with comparable(model, phase == "training"):
        own = _results(built, built.runner(), phase)
        try:
            for body in bodies:
                body.run = loop
            model.feed_back = feed_back
            expected = _results(built, model, phase)
        finally:
            for body, run in zip(bodies, runs, strict=True):
                body.run = run
            model.feed_back = own_feed_back
    errors_to_loop = {name: relative_error(own[name], value) for name, value in expected.items()}
    check_errors(errors_to_loop, built.case.workload, "the loop's")
    return max(errors_to_loop.values())


def check_stream(built: Built, input: Tensor, reference: SequenceModel) -> None:
    """Compare the last of some steps that each side takes with the state that it carries over; raises ParityError.

    Both start with the first state, and get the input anew in each step.
    """
    model = built.model
    with comparable(model, takes_gradients=False), MODES["inference"]():
        own = StepStream(built.runner(), [input], built.state)
        expected = StepStream(in_layer_form(reference, reference), [input], built.layer_state)
        for _ in range(STREAMED_STEPS):
            output, wanted = own.step(), expected.step()
    name = f"output of step {STREAMED_STEPS}"
    check_errors({name: relative_error(output, wanted)}, replace(built.case.workload, seq_len=STREAMED_STEPS))


def _results(built: Built, runner: nn.Module, phase: Phase) -> dict[str, Tensor]:
    """The output of a call, and in training the gradients of all parameters that have one."""
    with MODES[phase]():
        output, _ = runner(built.input, built.state)
        results: dict[str, Tensor] = {"output": output.detach().clone()}
        if phase == "training":
            built.model.zero_grad(set_to_none=True)
            output.backward(fixed_direction(output.detach(), output.shape))
            named = built.model.named_parameters()
            results |= {f"gradient of {name}": own.grad.clone() for name, own in named if own.grad is not None}
            built.model.zero_grad(set_to_none=True)
    return results


def check_errors(relative_errors: Mapping[str, float], workload: Workload, whose: str = "the reference's") -> None:
    """Raise ParityError if an error is too large; it names the one that is furthest beyond its tolerance.

    The errors are relative to `whose` largest value.
    """
    sums = Sums(
        max(workload.input_steps, workload.output_steps),
        workload.batch_size,
        workload.hidden_size,
        workload.output_size,
    )
    check_parity_errors(relative_errors, {name: allowed(name, workload.dtype, sums) for name in relative_errors}, whose)


def check_parity_errors(
    relative_errors: Mapping[str, float], tolerances: Mapping[str, Tolerance], whose: str = "the reference's"
) -> None:
    """As `check_errors`, with the tolerance of each error."""
    shares = {name: error / tolerances[name].error for name, error in relative_errors.items()}
    worst = max(shares, key=lambda name: math.inf if math.isnan(shares[name]) else shares[name])
    if math.isnan(shares[worst]):
        raise ParityError(f"{worst} has NaN or infinite values")
    if not shares[worst] <= 1:
        error, tolerance = relative_errors[worst], tolerances[worst]
        raise ParityError(
            f"{worst} is off by {error:.1e} of {whose} largest value; "
            f"{tolerance.error:.0e} is allowed ({tolerance.why})"
        )


def in_layer_form(model: SequenceModel, runner: nn.Module) -> nn.Module:
    """A model that takes and returns states in torch.nn's form; `runner` is called in the place of one of cells."""
    return LayerStateModel(model, runner) if isinstance(model.body, Cells) else model


def _mapped(model: SequenceModel, weights: Weights, *, is_below: bool) -> dict[str, Tensor]:
    """The parameters of `model` from the reference's; both may be those of a `LayerStateModel`."""
    mapped = model_weights(model, {name.removeprefix(BELOW): weight for name, weight in weights.items()})
    return {f"{BELOW}{name}": weight for name, weight in mapped.items()} if is_below else mapped


@contextmanager
def comparable(model: SequenceModel, takes_gradients: bool) -> Iterator[None]:
    """Turn dropout off, since the two sides draw different numbers. Not by `eval`, in which cuDNN has no backward."""
    owners = model.dropout_owners
    before = [owner.dropout for owner in owners]
    is_evaluating = not model.training
    for owner in owners:
        owner.dropout = 0.0
    if is_evaluating and takes_gradients:
        model.train()
    try:
        yield
    finally:
        for owner, share in zip(owners, before, strict=True):
            owner.dropout = share
        if is_evaluating:
            model.eval()

"""Whether a built case computes what its reference computes: before it is timed, and again afterwards.

The referee: a case that has been timed is compared with its reference again, by the worker that timed it.

What agrees before the clock starts may stop to do its work afterwards: it may return kept results, return early, or
leave the work to a thread. So the inputs get new values at the same addresses, and the case is called in the form in
which it was timed.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, Self

from torch import Tensor, nn

from rnnbench.cells import CellError, is_own
from rnnbench.cells.parity import (
    ComparedTensors,
    ReferenceRun,
    Sums,
    Tolerance,
    allowed,
    errors,
    relative_error,
)
from rnnbench.store.metrics import COMPILED
from rnnbench.store.records import (
    GRAPH_BACKENDS,
    Case,
    Implementation,
    Phase,
    Workload,
)
from rnnbench.workloads.calls import operator_calls
from rnnbench.workloads.implementations import feed_back, loop
from rnnbench.workloads.model import Cells, LayerStateModel, SequenceModel
from rnnbench.workloads.phases import MODES, StepStream, TimedCall, fixed_direction, in_turn, timed_call
from rnnbench.workloads.prepare import Built, build, reference_case
from rnnbench.workloads.weights import model_weights

# Implementations that fix the computation, gradients included, for one kind of call.
FIXED: tuple[Implementation, ...] = (*COMPILED, "cudagraph")
STREAMED_STEPS = 16  # after which two streams are compared


class ParityError(Exception):
    """The case does not compute what its reference computes."""


def largest_error(built: Built, input: Tensor, *, as_timed: bool, runs: list[ReferenceRun] | None = None) -> float:
    """Compare a case with its reference on an input; returns the largest relative error. Raises ParityError.

    `as_timed`: in exactly the form that is timed, so that a call without gradients is compared without any. `runs`: of
    the same reference; one with these values is used in place of another call, and a new one is added.
    """
    timed: Literal["parameters", "none"] = "none" if built.case.workload.phase == "inference" else "parameters"
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
        mapping = partial(model_weights, model)
        runs = [] if runs is None else runs
        known = (run for run in runs if run.is_for(input, built.layer_state, compared))
        if (run := next(known, None)) is None:
            run = ReferenceRun.of(reference, input, built.layer_state, compared)
            runs.append(run)
        relative_errors = errors(candidate, run, mapping, input, built.layer_state)
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


UNSEEN = "unseen"  # seed of values that no window has
REPEATS = 5  # comparisons in which the second call must do less before a case fails: some cells draw what they do


@dataclass(frozen=True)
class GroupReference:
    """The reference of a group's cases, which get the same inputs, so that it runs once for all of them."""

    model: SequenceModel  # with its own weights; it was not in memory while anything was timed
    runs: list[ReferenceRun] = field(default_factory=list)

    @classmethod
    def of(cls, case: Case, root: Path) -> Self:
        """Build the reference of a case's group."""
        return cls(build(reference_case(case), root).model)


def compare(
    built: Built,
    timed: TimedCall,
    reference: Callable[[], GroupReference],
    anew: Callable[[], Built],
    *,
    repeats: bool,
) -> None:
    """Compare a timed case with its reference again; raises ParityError, and CellError if it keeps results.

    `reference` builds the reference, and `anew` the case; each only where it is needed. `repeats`: whether to
    compare a second call on the same values with the first, for a user's own cell.
    """
    if built.case.is_reference:
        return
    if built.unequal:
        verify_alone(built, timed, anew)
    else:
        verify(built, timed, reference())
    if repeats and is_own(built.case.cell):
        check_repeats(built, timed)


def verify(built: Built, timed: TimedCall, reference: GroupReference) -> None:
    """Compare a timed case with its reference on values that it has not seen; raises ParityError."""
    input = _unseen(built, timed)
    largest_error(replace(built, reference=reference.model), input, as_timed=True, runs=reference.runs)
    if built.case.workload.is_streamed:
        check_stream(built, input, reference.model)


def verify_alone(built: Built, timed: TimedCall, anew: Callable[[], Built]) -> None:
    """Check a timed case that can't be compared with its reference; raises ParityError.

    Its output must be finite. In inference it must also be that of a new instance, which `anew` builds with the same
    weights: nothing may depend on earlier calls. If two new instances differ, the case draws random numbers, and can't
    be checked. In training a case may keep statistics, and building a recorded or compiled case takes too long.
    """
    input = _unseen(built, timed)
    output = _output(built, input)
    if not bool(output.isfinite().all()):
        raise ParityError("output has NaN or infinite values")
    workload = built.case.workload
    if workload.phase != "inference" or built.case.implementation in GRAPH_BACKENDS:
        return
    try:
        check_errors({"output": relative_error(output, _output(anew(), input))}, workload, "a new instance's")
    except ParityError:
        if not _draws_random_numbers([anew(), anew()], input):
            raise


def _draws_random_numbers(instances: Sequence[Built], input: Tensor) -> bool:
    """Whether two equal instances give different outputs.

    Both must be built before the first is called, since building a case seeds the random numbers anew.
    """
    first, second = (_output(instance, input) for instance in instances)
    return relative_error(second, first) != 0


def _unseen(built: Built, timed: TimedCall) -> Tensor:
    """The input of a timed call, with values that no window has."""
    inputs = timed.inputs or in_turn(built.input)
    inputs.renew(UNSEEN)
    return inputs.tensors[0]


def _output(built: Built, input: Tensor) -> Tensor:
    with comparable(built.model, takes_gradients=False), MODES[_watched_phase(built)]():
        output: Tensor = built.runner()(input, built.state)[0]
        return output.detach().clone()


def check_repeats(built: Built, timed: TimedCall) -> None:
    """Compare the operators of a call on new values with those of a second call on them; raises CellError.

    Compiled and recorded code shows no operators, so nothing is compared.
    """
    if built.case.implementation in GRAPH_BACKENDS:
        return
    inputs = timed.inputs or in_turn(built.input)
    only = timed_call(_watched_phase(built), built.runner(), inputs.tensors[:1], built.state, built.output_shape)

    def next_operators() -> int:
        built.model.zero_grad(set_to_none=True)
        return operator_calls(only)

    if fault := kept_results(next_operators, lambda number: inputs.renew(f"repeated {number}")):
        raise CellError(f"it {fault}")


def kept_results(next_operators: Callable[[], int], renew: Callable[[int], object]) -> str:
    """Whether a second call with the same input does less than the first, in words; empty if it does not.

    `next_operators` makes a call and counts its operators; `renew` gives its input new values, other ones for each
    number.
    """
    for number in range(REPEATS):
        renew(number)
        new, repeated = next_operators(), next_operators()
        if repeated >= new:
            return ""
    return (
        f"keeps results: a second call with the same input does {repeated} operator calls, where the first does {new}"
    )


def _watched_phase(built: Built) -> Phase:
    """The phase whose calls are watched: without an optimizer, whose first step does more than the later ones."""
    return "inference" if built.case.workload.phase == "inference" else "training"

"""The referee: a case that has been timed is compared with its reference again, by the worker that timed it.

What agrees before the clock starts may stop to do its work afterwards: it may return kept results, return early, or
leave the work to a thread. So the inputs get new values at the same addresses, and the case is called in the form in
which it was timed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from rnnbench.cells import CellError, is_own
from rnnbench.cells.parity import ReferenceRun, relative_error
from rnnbench.store.records import GRAPH_BACKENDS, Case, Implementation, Phase, is_cell_reference, reference_cell
from rnnbench.workloads.inputs import in_turn
from rnnbench.workloads.model import SequenceModel
from rnnbench.workloads.phases import MODES, TimedCall, timed_call
from rnnbench.workloads.prepare import Built
from rnnbench.workloads.probes.calls import operator_calls
from rnnbench.workloads.referee.agreement import ParityError, check_errors, check_stream, comparable, largest_error

UNSEEN = "unseen"  # seed of values that no window has
REPEATS = 5  # comparisons in which the second call must do less before a case fails: some cells draw what they do


@dataclass(frozen=True)
class GroupReference:
    """The reference of a group's cases, which get the same inputs, so that it runs once for all of them."""

    model: SequenceModel  # with its own weights; it was not in memory while anything was timed
    runs: list[ReferenceRun] = field(default_factory=list)


def reference_case(case: Case) -> Case:
    """The case of the reference in a case's group."""
    reference = case.workload.reference
    implementation: Implementation = "reference" if is_cell_reference(reference) else "torch.nn"
    return Case(reference_cell(reference), implementation, case.workload)


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

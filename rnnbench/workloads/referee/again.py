"""The referee: a case that has been timed is compared with its reference again, by the worker that timed it.

What agrees before the clock starts may stop to do its work afterwards: it may return kept results, return early, or
leave the work to a thread. So the inputs get new values at the same addresses, and the case is called in the form in
which it was timed.
"""

from collections.abc import Callable
from dataclasses import replace

from rnnbench.cells import CellError
from rnnbench.store.records import GRAPH_BACKENDS, Case, Phase, reference_cell
from rnnbench.workloads.inputs import in_turn
from rnnbench.workloads.model import SequenceModel
from rnnbench.workloads.phases import MODES, TimedCall, timed_call
from rnnbench.workloads.prepare import Built
from rnnbench.workloads.probes.calls import CallCounts, watch
from rnnbench.workloads.referee.agreement import ParityError, comparable, largest_error

UNSEEN = "unseen"  # seed of values that no window has
REPEATS = 5  # comparisons in which the second call must do less before a case fails: some cells draw what they do


def reference_case(case: Case) -> Case:
    """The case of the reference in a case's group."""
    return Case(reference_cell(case.workload.reference), "torch.nn", case.workload)


def verify(built: Built, timed: TimedCall, reference: SequenceModel | None) -> None:
    """Compare a timed case with its reference on values that it has not seen; raises ParityError.

    `reference` has its own weights and was not in memory while anything was timed; None if outputs can't be compared,
    and then they are only checked for NaN and infinite values.
    """
    inputs = timed.inputs or in_turn(built.input)
    inputs.renew(UNSEEN)
    input = inputs.tensors[0]
    if reference is not None:
        largest_error(replace(built, reference=reference), input, as_timed=True)
        return
    with comparable(built.model, takes_gradients=False), MODES[_watched_phase(built)]():
        output, _ = built.runner()(input, built.state)
    if not bool(output.isfinite().all()):
        raise ParityError("output has NaN or infinite values")


def check_repeats(built: Built, timed: TimedCall) -> None:
    """Compare the work of a call on new values with that of a second call on them; raises CellError.

    Compiled and recorded code shows no operators, so nothing is compared.
    """
    if built.case.implementation in GRAPH_BACKENDS:
        return
    inputs = timed.inputs or in_turn(built.input)
    only = timed_call(_watched_phase(built), built.runner(), inputs.tensors[:1], built.state, built.output_shape)

    def counts() -> CallCounts:
        built.model.zero_grad(set_to_none=True)
        return watch(only, built.input.device)

    if fault := kept_results(counts, lambda number: inputs.renew(f"repeated {number}")):
        raise CellError(f"it {fault}")


def kept_results(counts: Callable[[], CallCounts], renew: Callable[[int], object]) -> str:
    """Whether a second call with the same input does less than the first, in words; empty if it does not.

    `counts` makes a call, and `renew` gives its input new values, other ones for each number.
    """
    for number in range(REPEATS):
        renew(number)
        new, repeated = counts(), counts()
        if repeated.operators >= new.operators and repeated.macs >= new.macs:
            return ""
    return (
        f"keeps results: a second call with the same input does {repeated.operators} operator calls and "
        f"{repeated.macs:,} MACs, where the first does {new.operators} and {new.macs:,}"
    )


def _watched_phase(built: Built) -> Phase:
    """The phase whose calls are watched: without an optimizer, whose first step does more than the later ones."""
    return "inference" if built.case.workload.phase == "inference" else "training"

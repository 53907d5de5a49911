"""The referee: a case that has been timed is compared with its reference again, by the worker that timed it.

What agrees before the clock starts may stop to do its work afterwards: it may return kept results, return early, or
leave the work to a thread. So the inputs get new values at the same addresses, and the case is called in the form in
which it was timed.
"""

from dataclasses import replace

from rnnbench.cells import CellError
from rnnbench.store.records import GRAPH_BACKENDS, Case, Phase, reference_cell
from rnnbench.workloads.agreement import ParityError, comparable, largest_error
from rnnbench.workloads.inputs import in_turn
from rnnbench.workloads.model import SequenceModel
from rnnbench.workloads.phases import MODES, TimedCall, timed_call
from rnnbench.workloads.prepare import Built
from rnnbench.workloads.probes.calls import CallCounts, watch

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

    A cell that looks up results does less work the second time. Compiled and recorded code shows no operators.
    """
    if built.case.implementation in GRAPH_BACKENDS:
        return
    inputs = timed.inputs or in_turn(built.input)
    only = timed_call(_watched_phase(built), built.runner(), inputs.tensors[:1], built.state, built.output_shape)
    for number in range(REPEATS):
        inputs.renew(f"repeated {number}")
        new, repeated = (watch(only, built.input.device) for _ in range(2))
        built.model.zero_grad(set_to_none=True)
        if not _is_less(repeated, new):
            return
    raise CellError(
        f"it keeps results: a second call with the same input does {repeated.operators} operator calls and "
        f"{repeated.macs:,} MACs, where the first does {new.operators} and {new.macs:,}"
    )


def _is_less(repeated: CallCounts, new: CallCounts) -> bool:
    return repeated.operators < new.operators or repeated.macs < new.macs


def _watched_phase(built: Built) -> Phase:
    """The phase whose calls are watched: without an optimizer, whose first step does more than the later ones."""
    return "inference" if built.case.workload.phase == "inference" else "training"

"""Everything that is observed of a case before it is timed: parity and the probes. Nothing is timed here."""

import traceback
from collections.abc import Callable

from rnnbench.cells import is_own
from rnnbench.store.metrics import COMPILED, OBSERVED
from rnnbench.store.readings import Readings
from rnnbench.store.records import FUSED_LAYERS, Measurement, Phase
from rnnbench.text import error_in_words
from rnnbench.workloads import compiled, contract
from rnnbench.workloads.prepare import Built, copied_weights
from rnnbench.workloads.probes import calls, gradient, saved, summary
from rnnbench.workloads.referee import suspicions
from rnnbench.workloads.referee.agreement import largest_error, largest_error_to_loop

COMPARED: tuple[Phase, ...] = ("inference", "training", "step")  # phases in which a call is one pass over a sequence
# In this order: the first call of a process sets up much that the others must not count.
PROBES: dict[str, Callable[[Built], Readings]] = {
    "summary": summary.probe,
    "saved": saved.probe,
    "gradient": gradient.probe,
    "calls": calls.probe,
}


def observe(built: Built, of_device: Callable[[Built], Readings] = lambda built: Readings()) -> Measurement:
    """Check a case's parity with its reference and run all probes, `of_device` last; it is then ready to be timed.

    Raises CellError if a user's own class does not do what a cell does, ParityError if outputs or gradients disagree,
    Skip if torch.compile does not work here, and whatever the call raises. If a probe fails but the call does not, the
    probe's metrics are missing.
    """
    readings = Readings()
    if is_own(built.case.cell):
        contract.check_signature(built)
    if built.case.implementation in COMPILED:
        compiled.check(built.case.workload.device, built.case.implementation)
        readings |= compiled.cost(built.timed_call())  # first: the first call compiles
        built.model.zero_grad(set_to_none=True)
    note = contract.check_calls(built) if is_own(built.case.cell) else ""
    parity, error = _check_parity(built)
    timed = built.timed_call()
    with timed.mode():
        timed.call()
    timed.end()
    for name, probe in {**PROBES, "device": of_device}.items():
        readings |= _readings(name, probe, built)
        built.model.zero_grad(set_to_none=True)  # as before
    backend = readings.values.pop("backend", "")
    if backend in FUSED_LAYERS and copied_weights(built.model):
        backend = f"{backend}, weights copied in each call"
    if built.case.implementation == "prepacked" and (libraries := compiled.libraries()):
        backend = f"{backend}, products in {libraries}"
    suspicion = _suspicion(built, readings.values.get("macs"))
    return Measurement(
        built.case,
        "pending",
        parity=f"{parity}; {note}" if note else parity,
        parity_error=error,
        suspicion=suspicion,
        backend=backend,
        metrics=readings.values,
        missing=readings.missing,
    )


def _readings(name: str, probe: Callable[[Built], Readings], built: Built) -> Readings:
    try:
        return probe(built)
    except Exception as error:
        traceback.print_exc()
        reason = f"its probe failed: {error_in_words(error)}"
        return Readings(missing={metric.name: reason for metric in OBSERVED if metric.probe == name})


def _suspicion(built: Built, counted_macs: int | None) -> str:
    try:
        return suspicions.of_case(built, counted_macs)
    except Exception:  # such as too little memory for float64: the case itself works
        traceback.print_exc()
        return ""


def _check_parity(built: Built) -> tuple[str, float | None]:
    if built.case.is_reference:
        return "is the reference", None
    if built.unequal:
        if built.is_of_cells and built.case.implementation != "loop" and built.case.workload.phase in COMPARED:
            largest_error_to_loop(built)
        return built.unequal, None
    return "agrees", largest_error(built, built.input, as_timed=False)

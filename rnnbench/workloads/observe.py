"""Everything that is observed of a case before it is timed: parity and the probes. Nothing is timed here."""

import traceback
from collections.abc import Callable

import torch

from rnnbench.adapt.contract import check_finite, check_signature, unchanged
from rnnbench.cells import CellError, is_own
from rnnbench.store.metrics import COMPILED, OBSERVED
from rnnbench.store.readings import Readings
from rnnbench.store.records import FUSED_LAYERS, Measurement, Phase
from rnnbench.text import error_in_words, message_of
from rnnbench.workloads import compiled
from rnnbench.workloads.bodies import own_module
from rnnbench.workloads.phases import fixed_direction
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
        module, width = own_module(built.model.body), built.model.head.in_features
        given = built.input, built.layer_state, width, built.case.implementation
        check_signature(module, *given, is_cell=built.is_of_cells)
    if built.case.implementation in COMPILED:
        compiled.check(built.case.workload.device, built.case.implementation)
        readings |= compiled.cost(built.timed_call())  # first: the first call compiles
        built.model.zero_grad(set_to_none=True)
    note = _check_calls(built) if is_own(built.case.cell) else ""
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


def _check_calls(built: Built) -> str:
    """Run the model over the sequence as in a timed call, with backward in training. Raises CellError.

    Returns a note about parameters that no gradient reaches; empty if there are none.
    """
    name = type(own_module(built.model.body)).__name__
    if built.case.workload.phase != "inference":
        note = _check_training(built, name)
        built.model.zero_grad(set_to_none=True)
        return note
    with torch.inference_mode():
        output, _ = unchanged(built.model, built.input, built.state, name)
    check_finite(f"{name}: over the sequence its output", output)
    return ""


def _check_training(built: Built, name: str) -> str:
    breaks = f"{name} works in inference and breaks in training"
    body = built.model.body
    own = [(part, parameter) for part, parameter in body.named_parameters() if parameter.requires_grad]
    try:
        with torch.enable_grad():
            output, _ = unchanged(built.model, built.input, built.state, name)
            check_finite(f"{name}: over the sequence its output", output)
            output.backward(fixed_direction(output.detach(), output.shape))
    except (CellError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if "can't allocate memory" in message_of(error):  # torch's message on a CPU; the class is not at fault
            raise
        raise CellError(f"{breaks}: {error_in_words(error)}") from error
    unreached = [_own_name(part) for part, parameter in own if parameter.grad is None]
    if own and len(unreached) == len(own):
        raise CellError(f"{breaks}: no gradient reaches any of its parameters; is its output detached?")
    for part, parameter in own:
        check_finite(f"{breaks}: the gradient of {_own_name(part)}", parameter.grad)
    return f"no gradient reaches {', '.join(dict.fromkeys(unreached))}" if unreached else ""


def _own_name(part: str) -> str:
    """A body's parameter as its class names it: `weight_hh` for `cells.0.weight_hh` and for `layer.weight_hh`."""
    return part.split(".", 2)[2] if part.startswith("cells.") else part.removeprefix("layer.")


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

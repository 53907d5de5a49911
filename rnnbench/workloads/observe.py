"""All that is known of a case before it is timed: parity, and what each probe observes. Nothing is timed here."""

import math
import traceback
from collections.abc import Callable

from torch import Tensor

from rnnbench.cells.parity import TOLERANCES, Weights, cell_weights, errors
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.readings import Readings
from rnnbench.store.records import Measurement
from rnnbench.workloads.model import LayerStateModel, SequenceModel
from rnnbench.workloads.prepare import Built
from rnnbench.workloads.probes import calls, saved, summary

# In this order: the first call of a process sets up much that the others must not count.
PROBES: dict[str, Callable[[Built], Readings]] = {
    "summary": summary.probe,
    "saved": saved.probe,
    "calls": calls.probe,
}


class ParityError(Exception):
    """The case does not compute what its reference computes."""


def observe(built: Built, of_device: Callable[[Built], Readings] = lambda built: Readings()) -> Measurement:
    """Check a case's parity with its reference and run all probes, `of_device` last; it is then ready to be timed.

    Raises ParityError where outputs or gradients disagree, and whatever the call raises. A probe that fails, though the
    call does not, leaves its metrics missing.
    """
    parity, error = _check_parity(built)
    timed = built.timed_call()
    with timed.mode():
        timed.call()
    readings = Readings()
    for name, probe in {**PROBES, "device": of_device}.items():
        readings |= _readings(name, probe, built)
        built.model.zero_grad(set_to_none=True)  # as it was before
    backend = readings.values.pop("backend", "")
    return Measurement(
        built.case,
        "pending",
        parity=parity,
        parity_error=error,
        backend=backend,
        metrics=readings.values,
        missing=readings.missing,
    )


def _readings(name: str, probe: Callable[[Built], Readings], built: Built) -> Readings:
    try:
        return probe(built)
    except Exception as error:
        traceback.print_exc()
        reason = f"its probe failed: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        return Readings(missing={metric.name: reason for metric in OBSERVED if metric.probe == name})


def _check_parity(built: Built) -> tuple[str, float | None]:
    if built.spec is None:
        return "is the reference", None
    if built.spec.unequal:
        return built.spec.unequal, None
    found = errors(
        LayerStateModel(built.model), built.reference, _model_weights(built.model), built.input, built.layer_state
    )
    tolerance = TOLERANCES[built.case.workload.dtype]
    worst, error = max(found.items(), key=lambda item: math.inf if math.isnan(item[1]) else item[1])
    if not error <= tolerance:
        raise ParityError(f"{worst} is off by {error:.1e} of the reference's largest value; {tolerance:.0e} is allowed")
    return "agrees", error


def _model_weights(model: SequenceModel) -> Callable[[Weights], dict[str, Tensor]]:
    """The mapping from the parameters of a reference model to those of a `LayerStateModel` around `model`."""

    def mapping(weights: Weights) -> dict[str, Tensor]:
        body = {name.removeprefix("body."): weight for name, weight in weights.items() if name.startswith("body.")}
        head = {f"model.{name}": weight for name, weight in weights.items() if name.startswith("head.")}
        return {f"model.body.{name}": weight for name, weight in cell_weights(model.body, body).items()} | head

    return mapping

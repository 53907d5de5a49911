"""Everything that is observed of a case before it is timed: parity and the probes. Nothing is timed here."""

import math
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Literal

from torch import Tensor, nn

from rnnbench.cells import is_own
from rnnbench.cells.parity import ComparedTensors, Sums, Weights, allowed, errors
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.readings import Readings
from rnnbench.store.records import Implementation, Measurement, Phase, Workload
from rnnbench.workloads import compiled, contract
from rnnbench.workloads.model import LayerStateModel, SequenceModel
from rnnbench.workloads.prepare import Built
from rnnbench.workloads.probes import calls, saved, summary
from rnnbench.workloads.weights import model_weights

# Implementations that fix the computation, gradients included, for one kind of call.
FIXED: tuple[Implementation, ...] = ("compiled", "cudagraph")
TIMED_GRADIENTS: dict[Phase, Literal["parameters", "none"]] = {
    "inference": "none",
    "training": "parameters",
    "step": "parameters",
    "epoch": "parameters",
}

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

    Raises CellError if a user's own class does not do what a cell does, ParityError if outputs or gradients disagree,
    Skip if torch.compile does not work here, and whatever the call raises. If a probe fails but the call does not, the
    probe's metrics are missing.
    """
    readings = Readings()
    if is_own(built.case.cell):
        contract.check_signature(built)
    if built.case.implementation == "compiled":
        compiled.check(built.case.workload.device)
        readings |= compiled.cost(built.timed_call())  # first: the first call compiles
        built.model.zero_grad(set_to_none=True)
    if is_own(built.case.cell):
        contract.check_calls(built)
    parity, error = _check_parity(built)
    timed = built.timed_call()
    with timed.mode():
        timed.call()
    timed.end()
    for name, probe in {**PROBES, "device": of_device}.items():
        readings |= _readings(name, probe, built)
        built.model.zero_grad(set_to_none=True)  # as before
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
    if built.case.is_reference:
        return "is the reference", None
    if built.unequal:
        return built.unequal, None
    timed = TIMED_GRADIENTS[built.case.workload.phase]
    # A compiled or recorded graph is compared in exactly the form that is timed. A class that supports no gradients may
    # be timed in a phase that takes none.
    is_fixed = built.case.implementation in FIXED or (is_own(built.case.cell) and timed == "none")
    compared = ComparedTensors(
        gradients=timed if is_fixed else "all",
        final_state=built.case.implementation != "torch.nn-padded",
    )
    takes_gradients = compared.gradients != "none"
    model = built.model
    candidate: nn.Module = model
    mapping: Callable[[Weights], dict[str, Tensor]] = partial(model_weights, model)
    with _comparable(model, takes_gradients), _comparable(built.reference, takes_gradients):
        if built.is_of_cells:  # a recording is made here, without dropout
            candidate, mapping = LayerStateModel(model, built.runner()), partial(_below_model, model)
        relative_errors = errors(candidate, built.reference, mapping, built.input, built.layer_state, compared)
    _check_errors(relative_errors, built.case.workload)
    return "agrees", max(relative_errors.values())


def _check_errors(relative_errors: Mapping[str, float], workload: Workload) -> None:
    """Raise ParityError if an error is too large; it names the one that is furthest beyond its tolerance."""
    sums = Sums(
        max(workload.input_steps, workload.output_steps),
        workload.batch_size,
        workload.hidden_size,
        workload.output_size,
    )
    tolerances = {name: allowed(name, workload.dtype, sums) for name in relative_errors}
    shares = {name: error / tolerances[name].error for name, error in relative_errors.items()}
    worst = max(shares, key=lambda name: math.inf if math.isnan(shares[name]) else shares[name])
    if not shares[worst] <= 1:
        error, tolerance = relative_errors[worst], tolerances[worst]
        raise ParityError(
            f"{worst} is off by {error:.1e} of the reference's largest value; "
            f"{tolerance.error:.0e} is allowed ({tolerance.why})"
        )


def _below_model(model: SequenceModel, weights: Weights) -> dict[str, Tensor]:
    """The mapping from the parameters of a reference model to those of a `LayerStateModel` around `model`."""
    return {f"model.{name}": weight for name, weight in model_weights(model, weights).items()}


@contextmanager
def _comparable(model: SequenceModel, takes_gradients: bool) -> Iterator[None]:
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

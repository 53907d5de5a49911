"""Everything that is observed of a case before it is timed: parity and the probes. Nothing is timed here.

What one call does is counted. The counts are equal from run to run, so a changed count means changed code.
"""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torchinfo
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from rnnbench.adapt.contract import check_finite, unchanged
from rnnbench.adapt.refusals import check_signature
from rnnbench.cells import CellError, is_own
from rnnbench.cells.states import State, leaves, rebuilt, storage_address
from rnnbench.store.implementations import COMPILED, GRAPH_BACKENDS, ROW_OF, WITH_OWN_LIBRARY
from rnnbench.store.metrics import OBSERVED, Readings
from rnnbench.store.parity import AGREES, IS_REFERENCE, Parity
from rnnbench.store.records import (
    FUSED_LAYERS,
    Measurement,
    Phase,
)
from rnnbench.text import error_in_words, message_of
from rnnbench.workloads import compiled
from rnnbench.workloads.counts import count, multiply_adds, profiled
from rnnbench.workloads.data import Epochs, Loading
from rnnbench.workloads.model import SequenceModel, copied_weights, own_module
from rnnbench.workloads.parity import ParityError, largest_error
from rnnbench.workloads.phases import TimedCall, fixed_direction
from rnnbench.workloads.prepare import Built

COMPARED_PHASES: tuple[Phase, ...] = (
    "inference",
    "training",
    "step",
)  # phases in which a call is one pass over a sequence
# Why the metrics of a probe are missing: for every data set, and for one that other processes load.
NO_MODEL = {**dict.fromkeys(("model", "summary"), "loading has no model"), "saved": "loading trains nothing"}
NOT_HERE = dict.fromkeys(("calls", "device"), "other processes load")


def saved_bytes(built: Built) -> Readings:
    """Sum the bytes of the storages that one forward saves, each once; parameters and inputs don't count."""
    if built.case.workload.phase == "inference":
        return Readings({"saved_bytes": 0})  # inference mode records nothing
    addresses = {
        storage_address(tensor) for tensor in (*built.model.parameters(), built.input, *leaves(built.layer_state))
    }
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if storage_address(tensor) not in addresses:
            sizes[storage_address(tensor)] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # an output saved with its graph would make a cycle with the graph

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output, _ = built.model(built.input, built.state)
    saved = sum(sizes.values())  # read while `output` holds the graph and every storage: no address comes twice
    del output
    return Readings({"saved_bytes": saved})


class OneStep(nn.Module):
    """One step of a model with its decoder and head: torchinfo passes the tensors of a state one by one."""

    def __init__(self, model: SequenceModel, state: State) -> None:
        super().__init__()
        self.body = model.body
        self.decoder = model.decoder
        self.head = model.head
        self.like = state

    def forward(self, input: Tensor, *states: Tensor) -> Tensor:
        """Return (batch, output) of an input (batch, input)."""
        hidden, state = self.body.step(input, rebuilt(self.like, iter(states)))
        if self.decoder is not None:
            hidden, _ = self.decoder.step(self.head(hidden), state)
        result: Tensor = self.head(hidden)
        return result


def summary(built: Built) -> Readings:
    """Return the totals of torchinfo's table for one step."""
    # Copies, because torchinfo counts the bytes of a tensor's whole storage, and a step is a view of the sequence.
    inputs = [part.clone() for part in (built.input[0], *leaves(built.state))]
    modes = [(module, module.training) for module in built.model.modules()]
    try:
        totals: Any = torchinfo.summary(OneStep(built.model, built.state), input_data=inputs, verbose=0)
    finally:
        for module, mode in modes:  # torchinfo leaves all modules in the outermost one's mode
            module.training = mode
        getattr(torchinfo.torchinfo, "_cached_forward_pass", {}).clear()  # it keeps the model
    values = {
        "mult_adds": int(totals.total_mult_adds),
        "input_bytes": int(totals.total_input),
        "forward_backward_bytes": int(totals.total_output_bytes),
        "parameter_bytes": int(totals.total_param_bytes),
    }
    return Readings(values)


def call_counts(built: Built, timed: TimedCall) -> Readings:
    """Return the counts of a built case's call, which was made before: a first call sets up much.

    Compiled and recorded code, and layers that a library fuses, hide their products. Those of the same model without
    either are counted, cell by cell and operator by operator.
    """
    values = count(timed, built.input.device)
    how = built.case.implementation
    backend = GRAPH_BACKENDS.get(how, values["backend"])
    if backend != values["backend"] or backend in FUSED_LAYERS:
        plain = replace(built, case=replace(built.case, implementation="loop"), model=built.model.looped())
        fusing: list[Any] = [torch.backends.mkldnn, torch.backends.cudnn]
        with ExitStack() as put_back:  # without them, layers of torch.nn call a plain operator for each product
            for library in fusing:
                put_back.callback(setattr, library, "enabled", library.enabled)
                library.enabled = False
            values["macs"] = multiply_adds(profiled(plain.timed_call(), with_flops=True))
    if backend in FUSED_LAYERS and copied_weights(built.model):
        backend = f"{backend}, weights copied in each call"
    if how in WITH_OWN_LIBRARY and (libraries := compiled.libraries()):
        backend = f"{backend}, products in {libraries}"
    values["backend"] = backend
    missing = {}
    if ROW_OF[how].is_recorded or ROW_OF[how].mode:
        missing["peak_bytes"] = "a recorded graph keeps all that it needs, and a replay asks for nothing"
    if values["macs"] is None:
        missing["macs"] = "TorchScript hides its products"
    return Readings({name: value for name, value in values.items() if name not in missing}, missing)


def observe(built: Built, of_device: Callable[[TimedCall], Readings] = lambda _: Readings()) -> Measurement:
    """Check a case's parity with its reference and run all probes, `of_device` last.

    Raises what `checked` raises. If a probe fails but the call does not, the probe's metrics are missing.
    """
    measurement = _compared(built)
    readings = probed(built, of_device)
    return replace(
        measurement,
        backend=readings.values.pop("backend", ""),
        metrics=measurement.metrics | readings.values,
        missing=measurement.missing | readings.missing,
    )


def checked(built: Built) -> Measurement:
    """Check a case's parity with its reference, and call it once as it is timed; its probes can run later.

    Raises CellError if a user's own class does not do what a cell does, ParityError if outputs or gradients disagree,
    Skip if torch.compile does not work here, and whatever the call raises.
    """
    measurement = _compared(built)
    with closing(built.timed_call()) as timed, timed.mode():
        timed.call()
    built.model.zero_grad(set_to_none=True)
    return measurement


def _compared(built: Built) -> Measurement:
    """Return the measurement of a case that agrees with its reference; of its metrics it has the cost of compiling."""
    if is_own(built.case.cell):
        check_signature(
            own_module(built.model.body),
            built.input,
            built.layer_state,
            built.model.head.in_features,
            built.case.implementation,
            is_cell=built.is_of_cells,
        )
    readings = Readings()
    if built.case.implementation in COMPILED:
        compiled.check(built.case.workload.device)
        readings = compiled.cost(built.timed_call())  # first: the first call compiles
        built.model.zero_grad(set_to_none=True)
    note = _check_calls(built) if is_own(built.case.cell) else ""
    parity, error = _check_parity(built)
    return Measurement(
        built.case,
        "pending",
        parity=replace(parity, note=note),
        parity_error=error,
        metrics=readings.values,
        missing=readings.missing,
    )


def probed(built: Built, of_device: Callable[[TimedCall], Readings] = lambda _: Readings()) -> Readings:
    """Run all probes of a case, `of_device` last; the name of its backend is among the values."""
    with closing(built.timed_call()) as timed:
        return _probe(built, timed, of_device)


def _probe(built: Built, timed: TimedCall, of_device: Callable[[TimedCall], Readings]) -> Readings:
    """Return the readings of all probes; a probe that fails is missing, but what the first call raises is raised."""
    with timed.mode():
        timed.call()  # the first call sets up much that the probes must not count
    # Not torchinfo's number, in which a tied weight counts twice.
    readings = Readings({"parameters": sum(parameter.numel() for parameter in built.model.parameters())})
    probes: dict[str, Callable[[], Readings]] = {
        "summary": partial(summary, built),
        "saved": partial(saved_bytes, built),
        "calls": partial(call_counts, built, timed),
        "device": partial(of_device, timed),
    }
    for name, probe in probes.items():
        built.model.zero_grad(set_to_none=True)  # as before the first call
        try:
            readings |= probe()
        except Exception as fault:
            reason = f"its probe failed: {error_in_words(fault)}"
            readings |= Readings(missing={metric.name: reason for metric in OBSERVED if metric.probe == name})
    built.model.zero_grad(set_to_none=True)
    return readings


def observe_loading(loading: Loading, of_device: Callable[[TimedCall], Readings] = lambda _: Readings()) -> Measurement:
    """Check that the batches equal those loaded item by item, and count what a call does in this process.

    Raises ParityError if a batch differs, and whatever the call raises.
    """
    case = loading.case
    work = loading.case.workload
    if not case.is_reference:
        plain = Epochs(loading.dataset, "per_item", replace(work, workers=0))
        mine = Epochs(loading.dataset, case.implementation, work)
        for number, (batch, expected) in enumerate(zip(mine, plain, strict=True)):
            if not all(map(torch.equal, batch, expected)):
                raise ParityError(f"batch {number} is not the one that comes item by item")
    readings = Readings()
    why = NO_MODEL | (NOT_HERE if work.workers else {})
    if not work.workers:
        timed = loading.timed_call()
        timed.call()  # the first call sets up much
        counts = count(timed, torch.device(work.device))
        values = {name: counts[name] for name in ("operators", "allocations", "peak_bytes")}
        readings = Readings(values, {"macs": "loading multiplies nothing"}) | of_device(timed)
    missing = {metric.name: why[metric.probe] for metric in OBSERVED if metric.probe in why}
    parity = IS_REFERENCE if case.is_reference else AGREES
    return Measurement(case, "pending", parity=parity, metrics=readings.values, missing=missing | readings.missing)


def _check_calls(built: Built) -> str:
    """Run the model over the sequence as in a timed call, with backward in training. Raises CellError.

    Returns a note about parameters that no gradient reaches; empty if there are none.
    """
    name = type(own_module(built.model.body)).__name__
    trains = built.case.workload.phase != "inference"
    breaks = f"{name} works in inference and breaks in training"
    try:
        with torch.enable_grad() if trains else torch.inference_mode():
            output, _ = unchanged(built.model, built.input, built.state, name)
            check_finite(f"{name}: over the sequence its output", output)
            if not trains:
                return ""
            output.backward(fixed_direction(output.detach(), output.shape))
    except (CellError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if not trains or "can't allocate memory" in message_of(
            error
        ):  # torch's message on a CPU: no fault of the class
            raise
        raise CellError(f"{breaks}: {error_in_words(error)}") from error
    parameters = [  # as the class names them: `weight_hh` for `cells.0.weight_hh` and for `layer.weight_hh`
        (part.split(".", 2)[2] if part.startswith("cells.") else part.removeprefix("layer."), parameter)
        for part, parameter in built.model.body.named_parameters()
        if parameter.requires_grad
    ]
    unreached = [part for part, parameter in parameters if parameter.grad is None]
    if parameters and len(unreached) == len(parameters):
        raise CellError(f"{breaks}: no gradient reaches any of its parameters; is its output detached?")
    for part, parameter in parameters:
        check_finite(f"{breaks}: the gradient of {part}", parameter.grad)
    built.model.zero_grad(set_to_none=True)
    return f"no gradient reaches {', '.join(dict.fromkeys(unreached))}" if unreached else ""


def _check_parity(built: Built) -> tuple[Parity, float | None]:
    if built.case.is_reference:
        return IS_REFERENCE, None
    if built.unequal:
        if built.is_of_cells and built.case.implementation != "loop" and built.case.workload.phase in COMPARED_PHASES:
            looped = replace(built, reference=built.model.looped())
            largest_error(looped, built.input, as_timed=True, whose="the loop's")
        return Parity("uncompared", built.unequal), None
    return AGREES, largest_error(built, built.input, as_timed=False)

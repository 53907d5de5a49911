"""The operations before any case: what a device is, the rates of the machine, the import of the code under test."""

from functools import partial
from pathlib import Path

from rnnbench.cells import CellError
from rnnbench.harness import devices
from rnnbench.harness.machine import global_state
from rnnbench.harness.protocol import Reply, Request
from rnnbench.harness.worker import ceilings
from rnnbench.harness.worker.state import WorkerState
from rnnbench.harness.worker.table import operation
from rnnbench.store.metrics import Readings


@operation("device")
def device(_state: WorkerState, request: Request) -> Reply:
    """Tell whether a device can be used and whether its energy can be measured; its model and its identifier."""
    if reason := devices.why_not(request["device"]):
        return {"reason": reason, "no_energy": reason, "name": "", "uuid": None}
    opened = devices.open_device(request["device"])
    no_energy = Readings.from_instruments({"energy": opened.meter}).missing.get("energy", "")
    return {"reason": "", "no_energy": no_energy, "name": opened.model, "uuid": opened.uuid}


@operation("ceiling")
def ceiling(state: WorkerState, request: Request) -> Reply:
    """Measure the best rates of the machine at a place."""
    name = request["device"]
    dtype = request["dtype"]
    threads = request["threads"]
    state.settle_at(name, dtype, threads)
    opened = devices.open_device(name)
    load = {"kernels": partial(ceilings.load, dtype, Path(request["folder"]))}
    kernels = Readings.from_instruments(load if opened.runs_host_code else {})
    native = kernels.values.get("kernels")
    passes = request["passes"]
    has_pulses = opened.is_shared and threads == 1
    state.learn_pulse(request["best_pulse"])
    before = state.pulses.look() if has_pulses else 0.0
    rates = ceilings.measure(opened, dtype, threads, native, passes, again=request["again"])
    quiet_share = (before + state.pulses.look()) / 2 if has_pulses else None
    no_kernels = kernels.missing.get("kernels", "")
    return {"ceiling": rates.to_json(), "no_kernels": no_kernels, "quiet_share": quiet_share}


@operation("import")
def import_code(state: WorkerState, request: Request) -> Reply:
    """Import the code under test before anything else.

    What it changes of the process stays, as it belongs to its side; settings of torch hold for its own cases alone. It
    ends at the first target that can't be imported.
    """
    root = Path(request["root"])
    tracer = state.tracer(request["tree"])
    with tracer.following(tracer.doubts):
        for cell in request["cells"]:
            state.make_importable(cell, root)
        for cell in request["cells"]:
            try:
                state.code_settings.load([cell], root)
            except CellError:  # its case will tell why
                return {"unimportable": cell}
    names = {name: global_state.PROCESS[name] for name in global_state.OF_THE_CODE}
    state.process_settings |= global_state.capture(names)
    return {"unimportable": ""}

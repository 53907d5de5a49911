"""The operations that observe a case apart from its times: the code that it may run, its parity, its metrics."""

from contextlib import closing
from dataclasses import asdict, replace

from rnnbench.cells import is_own
from rnnbench.harness import devices
from rnnbench.harness.protocol import Reply, Request
from rnnbench.harness.turns.kept_results import known_share
from rnnbench.harness.turns.schedule import calibrate, joules_per_call
from rnnbench.harness.worker import what_ran
from rnnbench.harness.worker.doubts import DRAWS_DATA
from rnnbench.harness.worker.state import WorkerState
from rnnbench.harness.worker.table import operation
from rnnbench.store.implementations import GRAPH_BACKENDS
from rnnbench.store.metrics import Readings
from rnnbench.store.parity import Parity
from rnnbench.store.records import Measurement
from rnnbench.workloads import observe as observed
from rnnbench.workloads.prepare import Built


@operation("reach", ends_case=True, runs_apart=True)
def reach(state: WorkerState, request: Request) -> Reply:
    """Find the code that a case may run."""
    if request["case"]["phase"] in ("loading", "epoch"):
        return {"code": [], "doubts": [asdict(DRAWS_DATA)]}
    return what_ran.reach(state.tracer(request["tree"]), lambda: state.build(request))


@operation("observe", ends_case=True)
def observe(state: WorkerState, request: Request) -> Reply:
    """Measure all metrics but time. This process must not time cases later: some probes change its allocator."""
    built = state.build(request)
    device = devices.open_device(built.case.workload.device)
    if isinstance(built, Built):
        measurement = _without_cache(built, observed.observe(built, device.memory), device)
    else:
        measurement = observed.observe_loading(built, device.memory)
    device.synchronize()  # a failing probe is not the fault of the case, but a broken device is
    return {"measurement": measurement.to_json()}


@operation("check", ends_case=True)
def check(state: WorkerState, request: Request) -> Reply:
    """Compare a case with its reference; its probes come later. A data set, which has few, is observed."""
    built = state.build(request)
    device = devices.open_device(built.case.workload.device)
    if isinstance(built, Built):
        measurement = _without_cache(built, observed.checked(built), device)
    else:
        measurement = observed.observe_loading(built, device.memory)
    device.synchronize()
    return {"measurement": measurement.to_json()}


def _without_cache(built: Built, measurement: Measurement, device: devices.Device) -> Measurement:
    """Return the measurement of a case, whose parity says so if a user's own cell keeps results by their values."""
    case = built.case
    has_code = is_own(case.cell) and case.implementation not in GRAPH_BACKENDS
    if not has_code or not measurement.parity.is_equal_work or case.workload.phase not in observed.COMPARED_PHASES:
        return measurement
    with closing(built.timed_call()) as timed, timed.mode():
        inputs = () if timed.inputs is None else timed.inputs.tensors

        def take_all() -> None:
            for _ in inputs:
                timed.call()

        share = known_share(device, take_all, timed.renew)
    return measurement if share is None else replace(measurement, parity=Parity("cached", size=share))


@operation("probe", ends_case=True)
def probe(state: WorkerState, request: Request) -> Reply:
    """Measure the metrics of a case that has been checked, but its time."""
    built = state.build(request)
    device = devices.open_device(built.case.workload.device)
    readings = observed.probed(built, device.memory) if isinstance(built, Built) else Readings()
    device.synchronize()
    return {"values": readings.values, "missing": readings.missing}


@operation("energy", ends_case=True)
def energy(state: WorkerState, request: Request) -> Reply:
    """Measure the joules of a call, over back-to-back calls for as long as the counter needs."""
    built = state.build(request)
    device = devices.open_device(built.case.workload.device)
    with closing(built.timed_call()) as timed, timed.mode():
        plan = calibrate(device, timed.call, request["window_seconds"])
        meter = device.meter()
        readings = Readings.from_instruments(
            {"energy_joules": lambda: joules_per_call(meter, device, timed.call, plan)}
        )
    return {"values": readings.values, "missing": readings.missing}

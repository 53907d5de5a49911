"""The operation `profile` of a worker, which registers itself when a worker imports this module at its start."""

from pathlib import Path
from typing import TYPE_CHECKING

from rnnbench.harness import devices
from rnnbench.harness.protocol import Reply, Request
from rnnbench.harness.worker.table import operation
from rnnbench.profiling.profile import profile
from rnnbench.profiling.profiled_call import of_built
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.prepare import Built

if TYPE_CHECKING:
    from rnnbench.harness.worker.state import WorkerState


@operation("profile", ends_case=True)
def profile_case(state: "WorkerState", request: Request) -> Reply:
    """Profile the case of a request. Raises Skip if its phase can't be profiled, and any error of its call."""
    built = state.build(request)
    if not isinstance(built, Built):
        raise Skip("the phase `loading` has no model to profile")
    call = of_built(built, devices.open_device(built.case.workload.device))
    result = profile(
        call, Path(request["folder"]), window_seconds=request["window_seconds"], seconds=request["seconds"]
    )
    return {"profile": result.to_json()}

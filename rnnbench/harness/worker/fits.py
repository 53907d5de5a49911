"""Whether this machine can run a case, by the case's axes alone."""

from rnnbench.harness import devices
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.store.records import Case
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.size import least_bytes


def check_fits(case: Case) -> None:
    """Raise Skip if the device, its memory, the cores or the type that a case needs are not there."""
    workload = case.workload
    if unusable := devices.why_not(workload.device):
        raise Skip(unusable)
    least, available = least_bytes(workload), devices.open_device(workload.device).memory_bytes()
    if available is not None and least > available:
        raise Skip(
            f"it needs at least {least / 1e9:,.1f} GB of memory, but {workload.device} has {available / 1e9:,.1f} GB"
        )
    cores = len(allowed_cores())
    for axis, wanted in (("threads", workload.threads), ("workers", workload.workers)):
        if wanted > cores:
            raise Skip(f"{axis}={wanted}, but the number of allowed cores is {cores}")
    if lacking := devices.backend(workload.device).lacks(workload.dtype):
        raise Skip(lacking)

"""Builds the cases that requests name, under torch's settings for each of them."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rnnbench.cells import CellError, load_function, parsed
from rnnbench.harness import devices
from rnnbench.harness.machine import global_state
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.store.records import AXES, Case, DType
from rnnbench.workloads import loading
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.prepare import Built, build
from rnnbench.workloads.size import least_bytes


class Builder:
    """Builds cases; what they need of torch's settings is put back before each of them."""

    def __init__(self, make_importable: Callable[[str, Path], None] = lambda cell, root: None) -> None:
        """`make_importable` lets a user's cell be imported; its file's path is relative to a root."""
        self._make_importable = make_importable
        self._state = self._wanted = global_state.capture()

    def build(self, request: dict[str, Any]) -> Built | loading.Loading:
        """Build the case of a request without calling it; raises Skip, CellError and any error of its cell."""
        if unknown := sorted(request["case"].keys() - set(AXES)):  # from a newer rnnbench: this would be other work
            raise CellError(f"this rnnbench has no axis {', '.join(unknown)}")
        case, root = Case.from_axes(request["case"]), Path(request["root"])
        check_fits(case)
        self.restore_for(case)
        for own in case.named_code:
            self._make_importable(own, root)
        is_loading = case.workload.phase == "loading"
        built = loading.build(case) if is_loading else build(case, root, request["compiled_steps"])
        self.restore_for(case)  # the import of a user's file may have changed them
        return built

    def import_all(self, cells: Sequence[str], root: Path) -> None:
        """Import users' cells, and let the settings that they change stay: they belong to this side of a check."""
        for cell in cells:
            self._make_importable(cell, root)
            with suppress(CellError):  # the case of this cell will tell why
                load_function(parsed(cell)[0], root)
        self._state = self._wanted = global_state.capture()

    def restore_for(self, case: Case) -> None:
        """Set torch's settings for a case, whatever the case before it did."""
        self.restore(case.workload.device, case.workload.dtype, case.workload.threads)

    def restore(self, device: str, dtype: DType, threads: int) -> None:
        """Set torch's settings for work of this kind; those that it does not need stay as they were at first."""
        self._wanted = self._state | devices.backend(device).settings(dtype) | {"threads": threads}
        self.put_back()

    def put_back(self) -> None:
        """Set torch's settings as they were last wanted; raises NotRestoredError."""
        global_state.restore(self._wanted)


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

"""What a worker holds from one request to the next, and how it builds the case of a request."""

import ctypes
import math
import mmap
import random
from collections.abc import Callable, Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from rnnbench.cells import CellError
from rnnbench.harness import devices
from rnnbench.harness.machine import global_state
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.protocol import Request
from rnnbench.harness.worker.own_settings import OwnSettings, overruled, set_since, without_suite
from rnnbench.harness.worker.prepared_case import PreparedCase
from rnnbench.harness.worker.user_files import UsedFiles
from rnnbench.harness.worker.what_ran import Tracer
from rnnbench.store.records import AXES, Case, DType
from rnnbench.workloads.data import Loading, build_loading
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.prepare import Built, build, least_bytes


class WorkerState:
    """The prepared cases of a group, the settings that hold, and what the worker was started with."""

    def __init__(
        self,
        layout: random.Random,
        restore_streams: Callable[[], None],
        printed_bytes: Callable[[], int],
        files: UsedFiles,
        make_importable: Callable[[str, Path], None],
        relay: Mapping[str, int],
    ) -> None:
        """`layout` draws where a case's memory begins; `make_importable` takes a user's cell and the root of its path.

        `relay` has descriptors: `marks`, memory in which the coordinator reads which case is called, and for turns with
        another side's worker the ends of two pipes, `token_from` and `token_to`.
        """
        self.layout = layout
        self.restore_streams = restore_streams
        self.printed_bytes = printed_bytes
        self.files = files
        self.make_importable = make_importable
        self.relay = relay
        self.case_in_turn = ctypes.c_int.from_buffer(mmap.mmap(relay["marks"], ctypes.sizeof(ctypes.c_int)))
        self._first_settings = global_state.capture()
        self.place_settings = self._first_settings  # of torch, at the place of the last request
        self.settings = self._first_settings  # of torch, for what runs now
        self.process_settings: dict[str, Any] = {}  # before a request
        self.code_settings = OwnSettings()
        self.overruled: dict[str, Any] = {}  # what the code of the last case set, and the suite decides
        self.visits = count()
        self.pulses = Pulses()
        self.prepared: dict[str, PreparedCase] = {}  # the cases of the current group
        self.tracer = cache(Tracer)  # of a tree; it lasts as long as the process
        self.build_reference = cache(build)  # used after the last window of a visit

    def begin_request(self) -> None:
        """Note what holds before a request: the coordinator may have chosen other cores."""
        self.settings = self.place_settings
        self.process_settings = global_state.capture(global_state.PROCESS)

    def restore_settings(self) -> None:
        """Restore the streams and the settings that a case may have changed; raises CellError if that is impossible."""
        self.restore_streams()
        self.restore_torch()
        global_state.restore(self.process_settings, global_state.PROCESS)

    def restore_torch(self) -> None:
        """Restore the settings of torch for what runs now; raises CellError if that is impossible."""
        global_state.restore(self.settings)

    def settle_at(self, device: str, dtype: DType, threads: int) -> None:
        """Set torch's settings for work at a place, which the cases of a group share; others as they were at first."""
        self.place_settings = self._first_settings | devices.backend(device).settings(dtype) | {"threads": threads}
        self.settings = self.place_settings
        self.restore_torch()

    def take_over(self) -> None:
        """Let the settings that a case's own code has changed hold for it, but for those that the suite decides."""
        changed = set_since(self.settings)
        self.overruled |= overruled(changed)
        self.settings = self.settings | without_suite(changed)
        self.restore_torch()

    def learn_pulse(self, best_pulse: float | None) -> None:
        """Take the best pulse that the coordinator knows, in seconds, if it is better than this worker's."""
        self.pulses.best = min(self.pulses.best, best_pulse or math.inf)

    def build(self, request: Request) -> Built | Loading:
        """Build the case of a request without calling it; raises Skip, CellError and any error of its cell."""
        if unknown := sorted(request["case"].keys() - set(AXES)):  # from a newer rnnbench: this would be other work
            raise CellError(f"this rnnbench has no axis {', '.join(unknown)}")
        case = Case.from_axes(request["case"])
        root = Path(request["root"])
        check_fits(case, processes=2 if "token_to" in self.relay else 1)
        self.settle_at(*case.workload.place)
        for target in case.named_code:
            self.make_importable(target, root)
        self.code_settings.load(case.named_code, root)
        imported = self.code_settings.set_by((case.cell, case.workload.optimizer, case.workload.loss))
        self.settings = self.place_settings | without_suite(imported)
        self.overruled = overruled(imported)
        self.restore_torch()
        if case.workload.phase == "loading":
            return build_loading(case)
        built = build(case, root, request["compiled_steps"], self.restore_torch)
        self.take_over()
        return built


def check_fits(case: Case, processes: int = 1) -> None:
    """Raise Skip if the device, its memory, the cores or the type that a case needs are not there.

    `processes`: that hold such a case at once, which share the memory of a GPU.
    """
    workload = case.workload
    if unusable := devices.why_not(workload.device):
        raise Skip(unusable)
    least = least_bytes(workload)
    available = devices.open_device(workload.device).memory_bytes
    sides = 1 if devices.is_shared(workload.device) else processes
    if least > available / sides:
        each = f" for each of {sides} processes" if sides > 1 else ""
        raise Skip(
            f"the case needs at least {least / 1e9:,.1f} GB of memory, but {workload.device} has "
            f"{available / sides / 1e9:,.1f} GB{each}"
        )
    cores = len(allowed_cores())
    for axis, wanted in (("threads", workload.threads), ("workers", workload.workers)):
        if wanted > cores:
            raise Skip(f"{axis}={wanted}, but the number of allowed cores is {cores}")
    if lacking := devices.backend(workload.device).lacks.get(workload.dtype):
        raise Skip(lacking)

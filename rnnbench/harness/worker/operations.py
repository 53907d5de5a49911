"""The operations of a worker, which the requests of `rnnbench.harness.protocol` name."""

import gc
import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from rnnbench.cells import CellError
from rnnbench.harness import devices
from rnnbench.harness.machine import torch_state
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.protocol import (
    CeilingReply,
    CountReply,
    DeviceReply,
    EnergyReply,
    FailedReply,
    FineReply,
    ObserveReply,
    PrepareReply,
    ProfileReply,
    WindowReply,
)
from rnnbench.harness.turns.clocks import Clocks
from rnnbench.harness.turns.engine import Plan, calibrate, plan_fields, take_window, warm_up
from rnnbench.harness.worker import ceilings, energy, failure, instructions, native, threads
from rnnbench.harness.worker.case_guard import CaseGuard
from rnnbench.harness.worker.fits import check_fits
from rnnbench.harness.worker.imported import Imported
from rnnbench.harness.worker.user_modules import UserModules
from rnnbench.store.ceilings import PLACE
from rnnbench.store.readings import Readings, Unavailable
from rnnbench.store.records import AXES, Case, DType, Workload
from rnnbench.workloads import compiled, loading
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.model import SequenceModel
from rnnbench.workloads.observe import observe
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import Built, build
from rnnbench.workloads.referee import again
from rnnbench.workloads.referee.agreement import ParityError

LAST_OF_A_CASE = ("observe", "energy", "count", "profile", "release")  # after these requests, the worker holds no case
MAX_PADDING_LINES = 256  # of 64 bytes, a cache line


@dataclass(frozen=True)
class PreparedCase:
    """A case that is ready to be timed."""

    built: Built | loading.Loading  # without its reference, which is not kept in memory
    device: devices.Device
    timed: TimedCall
    padding: torch.Tensor
    numbers: Iterator[int] = field(default_factory=count)  # of its windows

    @property
    def case(self) -> Case:
        """The case that is prepared."""
        return self.built.case


class Operations:
    """Holds the prepared cases of the current group, and performs the requested operations."""

    def __init__(
        self, layout: random.Random, guard: CaseGuard | None = None, modules: UserModules | None = None
    ) -> None:
        """`layout` draws where a case's memory begins; `guard` and `modules` need a process that does nothing else."""
        self._layout = layout
        self._guard = guard
        self._modules = modules
        self._ready: dict[str, PreparedCase] = {}
        self._state = self._wanted = torch_state.capture()
        self._imported = Imported()
        self._clocks = Clocks()
        self._references: dict[Workload, SequenceModel] = {}  # built after the last window of a visit

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to one request; an error of a case becomes a reply, too."""
        if self._guard is not None:
            self._guard.begin()
        reply = self._reply(request, self._answer)
        put_back = self._reply(request, self._put_back)
        if not put_back["ok"] and reply.get("status") != "failed":
            reply = put_back
        return {**reply, "imported": self._imported.new()} if request["op"] == "observe" else reply

    def _reply(self, request: dict[str, Any], answer: Callable[[dict[str, Any]], FineReply]) -> dict[str, Any]:
        try:
            return {**answer(request)}
        except Skip as skip:
            return {**FailedReply(ok=False, status="skipped", reason=str(skip))}
        except CellError as error:
            return failure.reply(error, str(error))
        except torch_state.NotRestoredError as error:
            return failure.reply(error, f"it changes {error}, which can't be put back for the cases after it")
        except ParityError as error:
            late = " after timing" if request["op"] == "verify" else ""
            return failure.reply(error, f"parity{late}: {error}")
        except Exception as error:
            if self._guard is not None:
                self._guard.restore_streams()  # a case that raises may have closed them
            traceback.print_exc()
            return failure.reply(error, failure.reason(error))

    def _answer(self, request: dict[str, Any]) -> FineReply:
        operations: dict[str, Callable[[dict[str, Any]], FineReply]] = {
            "device": self._device,
            "ceiling": self._ceiling,
            "observe": self._observe,
            "energy": self._energy,
            "count": self._count,
            "profile": self._profile,
            "prepare": self._prepare,
            "window": self._window,
            "verify": self._verify,
            "release": self._release,
        }
        return operations[request["op"]](request)

    def _put_back(self, request: dict[str, Any]) -> FineReply:
        """Prepare the process for the next case; raises NotRestoredError and CellError.

        Also runs after a failed request: only now does nothing refer to its case any more.
        """
        if request.get("op") in LAST_OF_A_CASE:
            _forget()
        torch_state.restore(self._wanted)
        if self._guard is not None:
            self._guard.end(may_have_children=self._loads_in_children(request))
        if fault := self._clocks.put_back():
            raise CellError(fault)
        return FineReply(ok=True)

    def _loads_in_children(self, request: dict[str, Any]) -> bool:
        """Whether the case of a request or a prepared case uses processes that load data."""
        prepared = (ready.case for ready in self._ready.values())
        requested = [Case.from_axes(request["case"])] if isinstance(request.get("case"), dict) else []
        return any(case.workload.workers for case in (*prepared, *requested))

    def _device(self, request: dict[str, Any]) -> DeviceReply:
        name = request["device"]
        reason = devices.why_not(name)
        if reason:
            return DeviceReply(ok=True, reason=reason, no_energy=reason, cards=[asdict(devices.Card())])
        device = devices.open_device(name)
        cards = [asdict(card) for card in device.cards()]
        try:
            device.meter()
            no_energy = ""
        except Unavailable as missing:
            no_energy = str(missing)
        return DeviceReply(ok=True, reason="", no_energy=no_energy, cards=cards)

    def _ceiling(self, request: dict[str, Any]) -> CeilingReply:
        name, dtype, threads = (request[axis] for axis in PLACE)
        self._restore(name, dtype, threads)
        device, kernels, no_kernels = devices.open_device(name), None, ""
        if device.runs_host_code:
            try:
                kernels = native.load(dtype, threads, Path(request["folder"]))
            except Unavailable as reason:
                no_kernels = str(reason)
        if request["again"]:
            ceiling = ceilings.measure_again(device, dtype, threads, kernels)
        else:
            ceiling = ceilings.measure(device, dtype, threads, kernels, request["passes"])
        return CeilingReply(ok=True, ceiling=ceiling.to_json(), no_kernels=no_kernels)

    def _observe(self, request: dict[str, Any]) -> ObserveReply:
        """All metrics except time. This process must not time cases later, since some probes change its allocator."""
        built = self._build(request)
        device = devices.open_device(built.case.workload.device)
        if isinstance(built, Built):
            measurement = observe(built, lambda built: device.memory(built.timed_call()))
        else:
            measurement = built.observe(device.memory)
        device.synchronize()  # a failing probe is not the fault of the case, but a broken device is
        return ObserveReply(ok=True, measurement=measurement.to_json())

    def _energy(self, request: dict[str, Any]) -> EnergyReply:
        """Joules per call, over back-to-back calls for as long as the counter needs."""
        built = self._build(request)
        device, timed = devices.open_device(built.case.workload.device), built.timed_call()
        with timed.mode():
            plan = calibrate(device, timed.call, request["window_seconds"])
            meter = device.meter()
            readings = Readings.of({"energy_joules": lambda: energy.per_call(meter, device, timed.call, plan)})
        timed.end()
        return EnergyReply(ok=True, values=readings.values, missing=readings.missing)

    def _count(self, request: dict[str, Any]) -> CountReply:
        """The instructions of one call."""
        built = self._build(request)
        if not isinstance(built, Built):
            raise Skip("the phase `loading` has no model whose call could be counted")
        if not devices.open_device(built.case.workload.device).runs_host_code:
            raise Skip("instructions are counted on the CPU only")
        timed = built.timed_call()
        totals = instructions.count(timed, built.case.workload.seq_len, request["counter"])
        timed.end()
        return CountReply(ok=True, totals=totals)

    def _profile(self, request: dict[str, Any]) -> ProfileReply:
        """Where the time of a call goes."""
        from rnnbench.harness.profiling import profile
        from rnnbench.harness.profiling.subject import of_built

        built = self._build(request)
        if not isinstance(built, Built):
            raise Skip("the phase `loading` has no model to profile")
        device = devices.open_device(built.case.workload.device)
        found = profile(of_built(built, device), Path(request["folder"]), window_seconds=request["window_seconds"])
        return ProfileReply(ok=True, profile=found.to_json())

    def _build(self, request: dict[str, Any]) -> Built | loading.Loading:
        if unknown := sorted(request["case"].keys() - set(AXES)):  # from a newer rnnbench: this would be other work
            raise CellError(f"this rnnbench has no axis {', '.join(unknown)}")
        case = Case.from_axes(request["case"])
        name, dtype, threads = case.workload.device, case.workload.dtype, case.workload.threads
        check_fits(case)
        self._restore(name, dtype, threads)
        if self._modules is not None:
            for own in (case.cell, case.workload.reference, case.workload.optimizer, case.workload.loss):
                self._modules.add(own, Path(request["root"]))
        built = build_case(case, Path(request["root"]), request["compiled_steps"])
        self._restore(name, dtype, threads)  # the import of a user's file may have changed them
        return built

    def _prepare(self, request: dict[str, Any]) -> PrepareReply:
        # Allocates a random size before the case's own memory, so that its addresses differ from process to process.
        padding = torch.empty(64 * self._layout.randrange(1, MAX_PADDING_LINES), dtype=torch.uint8)
        built = self._build(request)
        case = built.case
        device = devices.open_device(case.workload.device)
        timed = built.timed_call()
        with timed.mode(), threads.none_left(case):
            workload, seconds = case.workload, request["window_seconds"]
            plan, single_calls = Plan(**request["plan"]) if request["plan"] else None, workload.waits_for_each_call
            if plan is None:
                plan = calibrate(device, timed.call, seconds, cold=workload.is_cold, single_calls=single_calls)
            warmup_windows = warm_up(device, timed.call, plan, cold=workload.is_cold)
        kept = replace(built, reference=built.model) if isinstance(built, Built) else built
        self._ready[case.key] = PreparedCase(kept, device, timed, padding)
        return PrepareReply(ok=True, plan=plan_fields(plan), warmup_windows=warmup_windows)

    def _window(self, request: dict[str, Any]) -> WindowReply:
        ready, plan = self._ready[request["case"]], Plan(**request["plan"])
        workload = ready.case.workload
        self._restore(workload.device, workload.dtype, workload.threads)
        printed = self._printed_bytes()
        # The cases of a group get equal inputs, so that they do equal work.
        ready.timed.renew(f"window {next(ready.numbers)}")
        cold, keeps_calls = workload.is_cold, workload.is_streamed
        with ready.timed.mode(), threads.none_left(ready.case):
            reading = take_window(
                ready.device, ready.timed.call, plan, cold=cold, keeps_calls=keeps_calls, is_warm=request["is_warm"]
            )
        return WindowReply(
            ok=True,
            calls=plan.calls,
            batch=plan.batch,
            seconds=reading.seconds,
            host_seconds=reading.host_seconds,
            submit_seconds=reading.submit_seconds,
            quantiles=list(reading.quantiles),
            cores=allowed_cores(),
            clock_mhz=ready.device.clock_mhz(),
            device_uuid=ready.device.uuid(),
            printed=self._printed_bytes() != printed,
        )

    def _verify(self, request: dict[str, Any]) -> FineReply:
        """Compare a case with its reference once more, now that it has been timed."""
        case = Case.from_axes(request["case"])
        ready, workload = self._ready[case.key], case.workload
        self._restore(workload.device, workload.dtype, workload.threads)
        if isinstance(ready.built, Built):
            with threads.none_left(case):
                again.compare(
                    ready.built,
                    ready.timed,
                    partial(self._reference, case, Path(request["root"])),
                    lambda: build(case, Path(request["root"]), request["compiled_steps"]),
                    repeats=request["repeats"],
                )
        return FineReply(ok=True)

    def _reference(self, case: Case, root: Path) -> SequenceModel:
        """The model of a case's reference, which its group shares."""
        if case.workload not in self._references:
            self._references[case.workload] = build(again.reference_case(case), root).model
        return self._references[case.workload]

    def _printed_bytes(self) -> int:
        return 0 if self._guard is None else self._guard.printed_bytes()

    def _restore(self, device: str, dtype: DType, threads: int) -> None:
        """Set torch's settings for a case, whatever the case before it did."""
        self._wanted = settings_of(device, dtype, threads, self._state)
        torch_state.restore(self._wanted)

    def _release(self, _request: dict[str, Any]) -> FineReply:
        """Forget the cases of the group."""
        for ready in self._ready.values():
            ready.timed.end()
        self._ready.clear()
        self._references.clear()
        return FineReply(ok=True)


def _forget() -> None:
    """Free everything left of earlier cases: garbage collection is off while cases run.

    Much of it is in reference cycles: compiled code, a recorded graph with all its memory, a profile.
    """
    compiled.forget()
    gc.collect()
    gc.freeze()  # the remaining objects are torch's own; later collections skip them
    devices.empty_caches()


def build_case(case: Case, root: Path, compiled_steps: int) -> Built | loading.Loading:
    """Build the case without calling it; raises Skip, CellError and any error of its cell."""
    return loading.build(case) if case.workload.phase == "loading" else build(case, root, compiled_steps)


def settings_of(device: str, dtype: DType, threads: int, before: torch_state.TorchState) -> torch_state.TorchState:
    """torch's settings for a case on this device; the settings that it does not need stay as in `before`."""
    return before | devices.backend(device).settings(dtype) | {"threads": threads}

"""A case in a worker: why it does not fit, its turns, its instructions, what it may not leave behind, why it failed."""

import gc
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any, Literal

import psutil
import torch

from rnnbench import cells
from rnnbench.analysis.quiet import clipped_mean, low_parts
from rnnbench.cells import CellError, CellMissing
from rnnbench.harness import devices
from rnnbench.harness.devices import Clocked
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.perf_event import CounterName, counting
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.turns.schedule import Turns
from rnnbench.store.metrics import Unavailable
from rnnbench.store.records import Case, Failure, Workload, evenly_spaced
from rnnbench.text import ending, error_in_words, first_few, first_line, last_frame, last_line, message_of, place
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.phases import Loading, TimedCall
from rnnbench.workloads.prepare import Built, least_bytes

MAX_NAMED = 3  # a cell that leaves a thread a step leaves thousands
HELPER = "multiprocessing.resource_tracker"  # Python's own, which lives as long as its parent, and is idle
KEPT_QUANTILES = 49  # of the blocks of half of the turns of a case in a visit
COUNTED_ROUNDS = 5  # of which each counts the instructions of one call
WARMUP_STEPS = 32  # of a recurrence before a call is counted: Python specializes code after some repetitions
# to switch callgrind
SWITCH_SECONDS = 60.0
SWITCH_POLL_SECONDS = 0.01
# What torch, the host's allocator, the driver and libraries say when memory runs out.
NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


@dataclass(frozen=True)
class PreparedCase:
    """A case that is ready to be timed."""

    built: Built | Loading  # without its reference, which is not kept in memory
    device: devices.Device
    timed: TimedCall
    padding: torch.Tensor
    own_settings: Mapping[str, Any]  # of torch, which its own code has set

    def take_turn(self, plan: Turns, pulses: Pulses) -> Clocked:
        """Clock the calls of one turn, which waits for a quiet core if pulses can tell whether it is quiet.

        The rate of a GPU's clock is measured right after them: an idle card would tell another one.
        """
        case = self.built.case
        with self.device.range(case.key), self.timed.mode(), no_threads_left(case):
            clocked = self._clocked(plan, pulses)
            hertz = self.device.clock_hertz()
        return clocked if hertz is None else replace(clocked, clock_hertz=hertz)

    def _clocked(self, plan: Turns, pulses: Pulses) -> Clocked:
        workload = self.built.case.workload
        if workload.caches == "cold":
            return self.device.clock_cold(self.timed.call, plan.blocks)
        if pulses_tell(workload):
            pulses.wait()
            return self.device.clock(self.timed.call, plan.blocks, plan.calls, is_warm=plan.is_warm, pulse=pulses.take)
        # A step of a stream has a deadline, which does not wait while another process has the core.
        return self.device.clock(
            self.timed.call,
            plan.blocks,
            plan.calls,
            is_warm=plan.is_warm,
            counts_waits=workload.task == "streaming",
        )

    def window(self, plan: Turns, turns: Sequence[Clocked], pulses: Pulses) -> dict[str, Any]:
        """Return half of the turns of a visit, with fields of `rnnbench.store.records.Window`."""
        per_call = sorted(seconds / plan.calls for turn in turns for seconds in turn.batch_seconds)
        rates = [turn.clock_hertz for turn in turns if turn.clock_hertz is not None]
        of_clock = {"sm_clock_mhz": median(rates) / 1e6} if rates else {}
        return (
            self._quiet_blocks(plan, turns, pulses)
            | of_clock
            | {
                "case": self.built.case.key,
                "calls": len(turns) * plan.blocks * plan.calls,
                "batch": plan.calls,
                "waits": len(turns),
                "seconds": sum(turn.seconds for turn in turns),
                "host_seconds": sum(turn.host_seconds for turn in turns),
                "submit_seconds": sum(turn.submit_seconds for turn in turns),
                "quantiles": per_call  # the latency of each step counts
                if self.built.case.workload.task == "streaming"
                else evenly_spaced(per_call, KEPT_QUANTILES),
                "cores": allowed_cores(),
                "device_uuid": self.device.uuid,
            }
        )

    def _quiet_blocks(self, plan: Turns, turns: Sequence[Clocked], pulses: Pulses) -> dict[str, Any]:
        """Return the fields of a window that say what its pulses and its quiet blocks show; empty without pulses."""
        taken = [seconds for turn in turns for seconds in turn.pulses]
        if not taken:
            return {}
        quiet = sorted(
            seconds / plan.calls
            for turn in turns
            for seconds, is_quiet in zip(turn.batch_seconds, pulses.quiet_blocks(turn.pulses), strict=True)
            if is_quiet
        )
        return {
            "pulses": len(taken),
            "quiet_pulses": sum(map(pulses.is_quiet, taken)),
            "best_pulse": pulses.best,
            "quiet_blocks": len(quiet),
            "quiet_seconds": fmean(quiet) if quiet else None,
            "quiet_clipped": clipped_mean(quiet),
            "quiet_low": low_parts(quiet),
        }


def pulses_tell(workload: Workload) -> bool:
    """Return whether pulses beside its calls show if the core of a workload is quiet.

    As `devices.pulses_tell` says of all calls. A flush before each call, or processes that load data, would come
    between a call and its pulses, and a stream's steps have deadlines.
    """
    is_between = workload.waits_for_each_call or bool(workload.workers)
    return not is_between and devices.pulses_tell(workload.device, workload.threads)


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
            f"it needs at least {least / 1e9:,.1f} GB of memory, but {workload.device} has "
            f"{available / sides / 1e9:,.1f} GB{each}"
        )
    cores = len(allowed_cores())
    for axis, wanted in (("threads", workload.threads), ("workers", workload.workers)):
        if wanted > cores:
            raise Skip(f"{axis}={wanted}, but the number of allowed cores is {cores}")
    if lacking := devices.backend(workload.device).lacks.get(workload.dtype):
        raise Skip(lacking)


def count_instructions(timed: TimedCall, steps: int, counter: CounterName, prefix: str = "") -> list[int]:
    """Return the instructions of one call in each round, in steady state and under varied conditions.

    Under callgrind they are zeros, since it writes a file for each; `prefix`: of the files by which it is told to see
    instructions, which it does only while calls are counted. `steps`: of the recurrence in a call. Raises Unavailable
    if nothing counts, and what the call raises.
    """
    calls = -(-WARMUP_STEPS // steps)
    totals = list[int]()
    with timed.mode(), ExitStack() as stack:
        for _ in range(calls):  # what is imported and specialized in the first calls is not seen
            timed.call()
        gc.collect()
        gc.freeze()
        if counter == "callgrind":
            switch_callgrind(prefix, "on")
            stack.callback(switch_callgrind, prefix, "off")
        for _ in range(COUNTED_ROUNDS):
            timed.renew("instructions")
            # CPython finds methods through a cache of 4,096 places; which of them share a place follows from the
            # version numbers of their classes. Assigning an attribute gives a class and all its subclasses new ones.
            for kind in (torch.nn.Module, torch.Tensor):
                kind._rnnbench_instructions = None  # type: ignore[union-attr]
                del kind._rnnbench_instructions  # type: ignore[union-attr]
            gc.collect()
            for _ in range(calls):
                timed.call()
            if counter == "callgrind":
                # A dump sets the numbers of calls to zero, but only of functions that it has instructions of.
                for _ in ("all calls so far", "the call that counts"):
                    torch._C._valgrind_toggle()
                    timed.call()
                    torch._C._valgrind_toggle_and_dump_stats()
                totals.append(0)
            else:
                with counting() as read:
                    before = read()
                    timed.call()
                    totals.append(read() - before)
    return totals


def switch_callgrind(prefix: str, state: Literal["on", "off"]) -> None:
    """Let callgrind, which runs this process, see every instruction from now on, or none; raises Unavailable.

    Without it the process is about four times as fast.
    """
    request = ["vgdb", f"--vgdb-prefix={prefix}", f"--pid={os.getpid()}", "instrumentation", state]
    try:
        # This process must go on meanwhile: callgrind looks for requests between its instructions.
        with subprocess.Popen(request, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            end = time.monotonic() + SWITCH_SECONDS
            while process.poll() is None and time.monotonic() < end:
                time.sleep(SWITCH_POLL_SECONDS)
            if process.poll() is None:
                process.kill()
                raise Unavailable(f"callgrind can't be switched {state}: no answer within {SWITCH_SECONDS:g} s")
            said = process.stderr.read().decode(errors="replace") if process.stderr else ""
    except OSError as fault:
        raise Unavailable(f"callgrind can't be switched {state}: {fault}") from None
    if process.returncode:
        raise Unavailable(f"callgrind can't be switched {state}: {last_line(said) or process.returncode}")


def running_processes() -> dict[int, str]:
    """Return the descendants of this process that have not ended: process id -> a readable name."""
    try:  # whether there is any child, even one that has ended; this system call takes a microsecond
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return {}
    descriptions = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended after it was listed
            command = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and HELPER not in command:
                descriptions[process.pid] = f"{process.pid} ({command[:60] or process.name()})"
    return descriptions


@contextmanager
def no_threads_left(case: Case) -> Iterator[None]:
    """Raise CellError at the end if a thread of Python runs that did not run at the beginning.

    Processes that load data are fed by threads, so a case that has some may leave threads.
    """
    before = {*threading.enumerate()}
    yield
    if case.workload.workers:
        return
    left = {*threading.enumerate()} - before
    if names := sorted(thread.name for thread in left if not isinstance(thread, threading._DummyThread)):
        # A dummy is none that Python code has started, such as autograd's own.
        raise CellError(f"it leaves threads running: {first_few(names, MAX_NAMED)}; end them within the call")


def failure_kind(error: BaseException) -> Failure:
    """Return `loading` if the error or one of its causes is missing or unreadable code or a file; otherwise `running`.

    Files can be missing because of the place where a case runs, such as a temporary worktree, and not because of its
    code.
    """
    if isinstance(error, CellMissing | ImportError | SyntaxError | OSError):
        return "loading"
    cause = error.__cause__ or error.__context__
    return "running" if cause is None else failure_kind(cause)


def failed_imports(error: BaseException | None) -> dict[str, Any]:
    """Return where a failed import arose, among the errors that led to it.

    `arose_in`: the files whose code raised, can't be parsed, or lack a name that is imported from them; `lacks`: the
    modules that were not found; `is_lack`: whether a module or a name in one was not found.
    """
    files = dict[str, None]()
    modules = dict[str, None]()
    is_lack = False
    while error is not None:
        if (frame := last_frame(error)) is not None and frame.filename != cells.__file__:  # which imports a user's
            files[frame.filename] = None
        named = getattr(error, "path", None) or getattr(error, "filename", None) or getattr(error, "file", None)
        if isinstance(error, ImportError | SyntaxError | CellMissing) and named:
            files[str(named)] = None
        is_lack = is_lack or isinstance(error, ImportError) or (isinstance(error, CellMissing) and bool(error.file))
        if isinstance(error, ModuleNotFoundError) and error.name:
            modules[error.name] = None
        error = error.__cause__ or error.__context__
    return {"arose_in": [*files], "lacks": [*modules], "is_lack": is_lack}


def failure_reason(error: BaseException) -> str:
    """Return one line with the error, and the innermost line of a user's code."""
    if not isinstance(error, Exception):
        return ending(error)
    message = message_of(error)
    is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in message for text in NO_MEMORY)
    said = f"out of memory: {first_line(error)}" if is_memory else error_in_words(error)
    return f"{said}{place(error)}"

"""Compile in a child, which can be ended, what this process then finds in torch's cache on disk.

No compilation in this process can be ended. A fork has the module, its class and its input as they are, so nothing is
pickled, and nothing is imported again: what it compiles has the key that this process looks for. Compiling that again
here takes a sixteenth to an eighth of the time (torch 2.13, layers of 16 to 64 steps); a new process would need four
seconds more, and could not have a class that a notebook defines.
"""

import contextvars
import ctypes
import json
import math
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from multiprocessing import connection
from pathlib import Path
from typing import NoReturn

import torch

from rnnbench.harness.machine.families import end_family
from rnnbench.harness.turns.schedule import Progress
from rnnbench.store.records import Phase
from rnnbench.text import as_budget, rounded_up

CLOCK_SHARE = 0.25  # of the time of a search at a shape, which compiling leaves for timing the ways
CLOCK_SECONDS = 20.0  # the most that it leaves: timing ways whose calls take 30 to 80 ms needs some 12 s
AGAIN_SHARE = 0.15  # of the time of a compilation, at most, that this process needs for what it finds in the cache
LEAST_SECONDS = 2.0  # for a compilation; in less nothing is begun
LOOK_SECONDS = 0.2  # between two looks at a child
STACK_BYTES = 256 << 20  # of the child's thread: the compiler calls itself
PR_SET_PDEATHSIG = 1


# of a compilation on an idle machine, and more for the first of a search
START_SECONDS = 3.0
FIRST_SECONDS = 10.0
OPERATOR_SECONDS = {"inference": 0.0035, "training": 0.007}  # more for each operator
# a way that is compiled so many times as long, since kernels are tried
TUNED = "max-autotune"
TUNING = 4


@dataclass(frozen=True)
class Refusal:
    """Why a way is not used; it may be the fastest nevertheless if it was not tried."""

    reason: str = ""
    is_untried: bool = False
    compile_seconds: float = field(default=math.nan, compare=False)  # a NaN equals nothing


@dataclass(frozen=True)
class Place:
    """For what is compiled."""

    device: str
    phase: Phase


class Compiler:
    """Compiles the ways of a module before a deadline: in children where that can be, else as far as it seems to fit.

    How long a way is compiled on an idle machine is estimated by the operators of the piece that is compiled.
    """

    def __init__(
        self,
        check: Callable[[str], str],
        operators: Callable[[], int],
        place: Place,
        *,
        deadline: float,
        budget_seconds: float,
        shapes: int,
        on_progress: Callable[[Progress], None],
    ) -> None:
        """`check`: compiles a way and returns why it can't be used; `operators`: counts them in a call.

        `deadline`: of the whole search, by `time.monotonic`; `budget_seconds`: of the user, for so many `shapes`.
        """
        self._check = check
        self._operators = operators
        self._place = place
        self._deadline = deadline
        clock_seconds = min(CLOCK_SHARE * (deadline - time.monotonic()), CLOCK_SECONDS)
        self._last_moment = deadline - clock_seconds  # for all ways together
        self._on_progress = on_progress
        self._budget_seconds = budget_seconds
        self._shapes = shapes
        self._pace = 1.0  # how many times as long as expected the last compilation took
        self._is_first = True

    def refusals(self, names: Sequence[str]) -> dict[str, Refusal]:
        """Return why each of these ways can't be used, or can't be compiled before the deadline; the first come first.

        In children they are compiled side by side, on as many cores as this process may use.
        """
        checks = {name: partial(self._check, name) for name in names}
        if not can_be_ended(self._place.device):
            return {name: self._refused_here(name, check) for name, check in checks.items()}

        def show(seconds: float) -> None:
            self._on_progress(Progress(0, 0, 1, seconds, stage=f"compiling ({', '.join(names)})"))

        refusals = compiled_in_children(checks, self._last_moment, show)
        for name, refusal in refusals.items():
            if refusal.is_untried:
                refusals[name] = replace(refusal, reason=f"{refusal.reason}; {self._more(name)}")
        return refusals

    def _refused_here(self, name: str, check: Callable[[], str]) -> Refusal:
        """Compile a way in this process, which can't be ended, unless it seems to take too long."""
        expected = self._expected(name)
        started = time.monotonic()
        if (seconds := expected * self._pace) > self._last_moment - started:
            takes = f"compiling it takes about {rounded_up(seconds)} on this machine now"
            return Refusal(f"{takes}, which the budget does not hold; {self._more(name)}", is_untried=True)
        self._on_progress(Progress(0, 0, 1, seconds, stage=f"compiling ({name})"))
        reason = check()
        seconds = time.monotonic() - started
        self._pace = seconds / expected
        self._is_first = False
        return Refusal(reason) if reason else Refusal(compile_seconds=seconds)

    def _more(self, name: str) -> str:
        """Say which budget probably has room for a way."""
        left = max(0.0, self._deadline - time.monotonic())
        more = max(2 * self._expected(name) * self._pace, 2 * (self._budget_seconds / self._shapes - left))
        return f"give a budget of {as_budget(self._budget_seconds + self._shapes * more)}"

    def _expected(self, name: str) -> float:
        of_operators = OPERATOR_SECONDS[self._place.phase] * self._operators()
        return (START_SECONDS + FIRST_SECONDS * self._is_first + of_operators) * (TUNING if name == TUNED else 1)


def can_be_ended(device: str) -> bool:
    """Return whether a compilation for a device can be made in a child: not for a GPU, whose context can't be forked.

    Only where processes are forked as Linux does it, and where torch keeps what it has compiled.
    """
    import torch._functorch.config as autograd
    import torch._inductor.config as inductor

    is_kept = inductor.fx_graph_cache and autograd.enable_autograd_cache and not inductor.force_disable_caches
    return device == "cpu" and sys.platform == "linux" and bool(is_kept)


def compiled_in_children(
    checks: Mapping[str, Callable[[], str]], deadline: float, on_wait: Callable[[float], None] = lambda seconds: None
) -> dict[str, Refusal]:
    """Check ways in children, which compile them side by side, and then here; returns why each can't be used.

    `checks`: by the name of a way, what compiles it and returns this reason; the first are begun first. `deadline`, by
    `time.monotonic`: of all. `on_wait` gets the seconds that are left for the children.
    """
    now = time.monotonic()
    end = now + (deadline - now) / (1 + AGAIN_SHARE * len(checks))
    refusals = _in_children(checks, end, on_wait)
    for name, refusal in refusals.items():
        if not refusal.reason:
            begun = time.monotonic()
            reason = checks[name]()
            seconds = refusal.compile_seconds + time.monotonic() - begun
            refusals[name] = Refusal(reason) if reason else Refusal(compile_seconds=seconds)
    return {name: refusals[name] for name in checks}


def _in_children(
    checks: Mapping[str, Callable[[], str]], end: float, on_wait: Callable[[float], None]
) -> dict[str, Refusal]:
    """Check ways in children until `end`, by `time.monotonic`: as many at once as this process has cores."""
    import_module("torch._inductor.compile_fx")  # once for all children
    cores = len(os.sched_getaffinity(0))
    waiting = list(checks)
    children: dict[str, Child] = {}
    refusals: dict[str, Refusal] = {}
    try:
        while waiting or children:
            left = end - time.monotonic()
            if left < LEAST_SECONDS:
                few = f"there were only {max(0.0, left):.1f} s to compile it"
                refusals |= {name: Refusal(few, is_untried=True) for name in waiting}
                waiting = []
            while waiting and len(children) < cores:
                name = waiting.pop(0)
                children[name] = Child(checks[name])
            if left <= 0:
                for name, child in children.items():
                    late = f"compiling it did not end within {rounded_up(child.seconds)}"
                    refusals[name] = Refusal(late, is_untried=True)
                break
            on_wait(left)
            readable = connection.wait([child.output for child in children.values()], LOOK_SECONDS)
            for name, child in list(children.items()):
                if child.output in readable and child.read():
                    refusals[name] = Refusal(child.result(), compile_seconds=child.seconds)
                    children.pop(name).end()
    finally:
        for child in children.values():
            child.end()
    return refusals


class Child:
    """A fork of this process that does one piece of work and returns its text."""

    def __init__(self, work: Callable[[], str]) -> None:
        self.output, write = os.pipe()
        self._begun = time.monotonic()
        parent = os.getpid()
        with warnings.catch_warnings(action="ignore"):  # of processes with several threads: see `_in_child`
            self._pid = os.fork()
        if not self._pid:
            _in_child(work, write, parent)
        os.close(write)
        self._text = b""
        self._exit_code: int | None = None

    @property
    def seconds(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self._begun

    def read(self) -> bool:
        """Read more of its text, which must be there; returns whether it has ended."""
        chunk = os.read(self.output, 1 << 16)
        self._text += chunk
        return not chunk

    def result(self) -> str:
        """Return its text, or how it has ended instead."""
        if self._text:
            return str(json.loads(self._text))
        code = self._wait()
        how = f"ended with {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
        return f"the process that tried it {how}"

    def end(self) -> None:
        """End it and all that it has started, unless it has ended; what a compiler has not finished is removed."""
        if self._exit_code is None:
            end_family(self._pid)
            self._wait()
        os.close(self.output)

    def _wait(self) -> int:
        if self._exit_code is None:
            self._exit_code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._exit_code


def _in_child(work: Callable[[], str], write: int, parent: int) -> NoReturn:
    """Do the work in a thread of its own, send its text, and end without any of the parent's clean-up.

    OpenMP's threads are not forked, but the thread that forks still counts on those it had, and would wait for them
    without end. A new thread starts new ones.
    """
    code = 1
    try:
        os.setsid()  # so that it can be ended with all that it has started, and Ctrl-C is the parent's
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return  # type: ignore[misc]  # the parent has ended: `finally` ends this process, too
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
        text: list[str] = []
        context = contextvars.copy_context()
        enter_modes = modes()
        threading.stack_size(STACK_BYTES)

        def run() -> None:
            with enter_modes():
                text.append(context.run(work))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        os.write(write, json.dumps(text[0]).encode())
        code = 0
    finally:
        os._exit(code)


def modes() -> Callable[[], ExitStack]:
    """Return what enters torch's modes of this thread in another one, which would begin without them."""
    threads = torch.get_num_threads()
    takes_gradients = torch.is_grad_enabled()
    is_inference = torch.is_inference_mode_enabled()
    has_autocast = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu")

    def enter() -> ExitStack:
        torch.set_num_threads(threads)
        stack = ExitStack()
        stack.enter_context(torch.inference_mode(is_inference))
        stack.enter_context(torch.set_grad_enabled(takes_gradients))
        if has_autocast:
            stack.enter_context(torch.autocast("cpu", dtype))
        return stack

    return enter

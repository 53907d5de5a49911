"""Where the time of one call goes: timed operators, replays without needless parts, and a trace.

No reported time is taken under a profiler, but those of a GPU's kernels.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rnnbench.analysis.quiet import LOW_SHARE
from rnnbench.analysis.quiet_rounds import seconds_together
from rnnbench.harness import devices
from rnnbench.harness.live.live_cases import LiveCase, is_torchs, with_gradients
from rnnbench.harness.live.live_cases import timed_call as live_call
from rnnbench.harness.live.loop import LiveTurns, Precision, undisturbed
from rnnbench.harness.live.measuring import LiveComparison, compared
from rnnbench.harness.live.quiet_core import QuietCore, quiet_core
from rnnbench.harness.turns.schedule import Progress
from rnnbench.profiling.causes import suspects
from rnnbench.profiling.operators import (
    FASTER_HALF,
    IDLE,
    IN,
    ClockedOperators,
    Differences,
    Listing,
    category,
    idle,
    listing,
    product_replays,
    table,
)
from rnnbench.profiling.replay import NotFollowed, record, replay
from rnnbench.store.implementations import GRAPH_BACKENDS
from rnnbench.store.profiles import Category, Cause, Kernels, Profile
from rnnbench.store.records import (
    Phase,
)
from rnnbench.suite.file import Settings
from rnnbench.text import error_in_words, first_line
from rnnbench.workloads import counts  # which mutes the profiler's log before its first use
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.phases import Mode, TimedCall, timed_call
from rnnbench.workloads.prepare import Built

ROUNDS = 10
MAX_ROUNDS = 3  # times `rounds`, for a replay whose time has not reached `PRECISION` before
PRECISION = 0.01
WINDOW_SECONDS = 0.01
TIMES_SHARE = 0.4  # of the budget of `explain`; the rest is for profiles
OWN_WEIGHT = 3  # a user's module gets so many times the seconds of torch's layer, whose needless work is not looked for
MAKING_SHARE = 0.4  # of the seconds of a profile, after which no other replay is made
LEAST_CALLS = 4  # of each arm in a round
REPLAYED = "replayed"  # the arm that makes the recorded call, with all that may be needless
LOOKS = 2  # of torch's profiler; the last is kept: the first in a process is slow
NO_KERNELS = (
    "torch's profiler saw no kernel of this call: it has no CUPTI, or another profiler or the driver forbids it"
)
ONE_THREAD = "one thread"  # the arm that runs the call on one
NO_OPERATORS = "compiled code calls its kernels without operators"
SCRIPTED = "rnnbench can't look inside TorchScript; profile the module before `torch.jit.script` to see its operators"


# The call to be profiled


@dataclass(frozen=True)
class ProfiledCall:
    """A call to be profiled: of a built case, or of a module in the user's process."""

    name: str
    device: devices.Device
    parts: dict[str, TimedCall]  # the `call`, and its first part (`forward`) or two (`forward_backward`) if it has more
    parameters: list[nn.Parameter]
    steps: int | None = None  # of the sequence; None if they must be found from the program
    opaque: str = ""  # why its operators are not visible: it is compiled, or a recording
    own: bool = True  # whether to look for causes: it is a user's or a cell's code, not torch's own layer


def of_built(built: Built, device: devices.Device) -> ProfiledCall:
    """Return the call of a case of a suite; raises Skip for an epoch."""
    case = built.case
    workload = built.case.workload
    if workload.phase == "epoch":
        raise Skip("an epoch can't be profiled as one call; profile the phases `step` and `loading` separately")
    parts = {"call": built.timed_call()}
    if workload.phase != "inference":
        runner = built.runner()
        parts["forward"] = TimedCall(lambda: runner(built.input, built.state), torch.enable_grad)
    if workload.phase == "step":
        parts["forward_backward"] = timed_call(
            replace(workload, phase="training"), built.runner(), [built.input], built.state
        )
    opaque = hidden(built.model)
    own = built.is_of_cells or case.implementation == "sequence"
    if backend := GRAPH_BACKENDS.get(case.implementation):
        opaque = f"{case.implementation} code calls its kernels without operators ({backend})"
    parameters = list(built.model.parameters())
    return ProfiledCall(case.key, device, parts, parameters, workload.seq_len, opaque, own)


def of_live(
    case: LiveCase, timed: TimedCall, phase: Phase, device: devices.Device, put_back: ExitStack
) -> ProfiledCall:
    """Return the call of a module or function of the user's process; `timed` is that call in the phase."""
    parts = {"call": timed}
    if phase != "inference":
        parts["forward"] = TimedCall(partial(case.run, *case.args), with_gradients)
    if phase == "step":
        parts["forward_backward"] = live_call(case, "training", put_back)
    opaque = hidden(case.run)
    own = not is_torchs(case.run)
    return ProfiledCall(case.name, device, parts, case.parameters(), opaque=opaque, own=own)


def hidden(run: Callable[..., object]) -> str:
    """Say why a module's or function's operators, or a part's, can't be seen; empty if they can."""
    for part in run.modules() if isinstance(run, nn.Module) else [run]:
        if isinstance(part, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            return SCRIPTED
        if type(part).__name__ == "OptimizedModule" or hasattr(part, "_torchdynamo_orig_callable"):
            return NO_OPERATORS
    return ""


# Its profile


def explain(
    modules: Mapping[str, Callable[..., object]],
    input: object,
    phase: Phase,
    reference: str | None,
    settings: Settings,
    folder: Path | None,
    threads: int | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[LiveComparison, dict[str, Profile]]:
    """Time modules of the user's process in turns, then profile each: the work of `rnnbench.explain(...)`.

    A module that can't be profiled has a profile that says why. Raises the same errors as `live.measure`.
    """
    started = time.monotonic()
    budget = settings.budget_seconds
    profiles: dict[str, Profile] = {}
    with compared(modules, input, phase, reference, threads) as found:
        of_times = None if budget is None else TIMES_SHARE * budget
        found.measure(settings.model_copy(update={"budget_seconds": of_times}), started, on_progress)
        found.needed /= TIMES_SHARE
        weights = {name: OWN_WEIGHT - (OWN_WEIGHT - 1) * is_torchs(case.run) for name, case in found.cases.items()}
        for name in sorted(weights, key=lambda name: -weights[name]):  # a layer of torch has no causes to look for
            case = found.cases[name]
            share = weights[name] / sum(weights.values())
            del weights[name]
            left = None if budget is None else share * max(0.0, started + budget - time.monotonic())
            subject = of_live(case, found.calls[name], phase, devices.open_device(found.device), found.put_back)
            try:
                with undisturbed():
                    profiles[name] = profile(
                        subject,
                        folder,
                        core=quiet_core(found.device, found.threads),
                        seconds=left,
                        on_progress=on_progress,
                    )
            except Exception as error:  # whatever the code of others raises; the times stay
                profiles[name] = Profile(name, "failed", f"profiling failed: {error_in_words(error)}")
    return found, {name: profiles[name] for name in found.cases}


def profile(
    subject: ProfiledCall,
    folder: Path | None = None,
    *,
    core: QuietCore | None = None,
    rounds: int = ROUNDS,
    window_seconds: float = WINDOW_SECONDS,
    seconds: float | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Profile:
    """Find out where the time of a call goes; its trace is written into `folder`, if one is given.

    `core`: pulses beside the calls, so that times are undisturbed where they can be. With `seconds`, fewer rounds are
    taken if these would take longer, at least one of the call's own parts; what then has no room is not begun. Raises
    any error of the call. `notes` says which parts of the profile are missing.
    """
    until = math.inf if seconds is None else time.monotonic() + seconds
    timed = subject.parts["call"]
    trained = "forward" in subject.parts
    call_seconds = _call_seconds(timed)
    # Inference mode hides the parts of composite operators.
    visible = TimedCall(timed.call, torch.no_grad if timed.mode is torch.inference_mode else timed.mode)
    listed = Listing() if subject.opaque else listing(visible)
    now = time.monotonic()
    differences, replays, steps, notes = _replays(subject, now + MAKING_SHARE * (until - now))
    arms = dict(subject.parts)
    products = None
    in_libraries = dict[str, TimedCall]()
    if listed.kinds and subject.device.runs_host_code:  # a device's products are only queued
        products, in_libraries, gradients = product_replays(listed, trained=trained)
        differences |= gradients
        threads = torch.get_num_threads()
        if threads > 1 and subject.own:
            arms[ONE_THREAD] = TimedCall(timed.call, partial(_on_one_thread, timed.mode))
            differences[Cause("threads", f"{threads} threads", 1)] = "call", ONE_THREAD
    clocked = ClockedOperators(visible)
    idling = ClockedOperators(idle(listed.kinds))
    operators = {"clocked": clocked.arm, "idle": idling.arm} if listed.kinds else {}
    waiting = _groups((arms, operators, in_libraries), replays, rounds)
    begin = partial(LiveTurns, subject.device, core=core, case_seconds=2 * window_seconds)
    times, taken = _times_of(waiting, begin, until, call_seconds, on_progress)
    if any(arm not in times for own, _ in waiting for arm in own):
        notes.append("the budget had no room for all parts of the profile: give it more time")
    is_timed = not operators or "clocked" in times
    seen, files = _watched(subject, folder)
    share = FASTER_HALF if core is None else LOW_SHARE
    return Profile(
        subject.name,
        steps=subject.steps or steps,
        times={arm: times[arm] for arm in subject.parts},
        operators=table(listed, clocked, idling, taken.get("clocked", 0), share) if is_timed else (),
        opaque=subject.opaque or _why_opaque(subject, seen, is_timed=is_timed),
        causes=tuple(
            replace(cause, seconds=tuple(np.subtract(times[whole], times[without]).tolist()))
            for cause, (whole, without) in differences.items()
            if {whole, without} <= times.keys()
        ),
        products=products
        and replace(
            products, seconds=_by_library(times, in_libraries, IN), idle_seconds=_by_library(times, in_libraries, IDLE)
        ),
        kernels=seen,
        files=files,
        notes=tuple(notes),
    )


def _call_seconds(timed: TimedCall) -> float:
    """Return how long the second call takes; the first sets up what is set up lazily."""
    with timed.mode():
        timed.call()
        begun = time.monotonic()
        timed.call()
    return time.monotonic() - begun


def _groups(
    arms: Iterable[Mapping[str, TimedCall]], replays: Mapping[str, TimedCall], rounds: int
) -> list[tuple[Mapping[str, TimedCall], Settings]]:
    """Return groups of arms, each with the rounds of its own that it may take.

    The slowest arm's call sets the block length for all arms of a round. Replays take more rounds where they need some.
    """
    settings = Settings(replicates=rounds, max_replicates=rounds, precision=None)
    longer = settings.model_copy(update={"max_replicates": MAX_ROUNDS * rounds, "precision": PRECISION})
    *first, last = arms
    groups = [*((each, settings) for each in first), (replays, longer), (last, settings)]
    return [(each, how) for each, how in groups if each]


def _why_opaque(subject: ProfiledCall, seen: Kernels | None, *, is_timed: bool) -> str:
    """Return why the operators of a call, or the kernels that it launches, are not known; empty if they are."""
    if not seen and not subject.device.runs_host_code:
        return NO_KERNELS
    return "" if is_timed else "the budget had no room to time its operators"


def _times_of(
    groups: Sequence[tuple[Mapping[str, TimedCall], Settings]],
    begin: Callable[..., LiveTurns],
    until: float,
    call_seconds: float,
    on_progress: Callable[[Progress], None],
) -> tuple[dict[str, tuple[float, ...]], dict[str, int]]:
    """Return the seconds of each arm of the groups that have room before `until`, and the rounds that it took.

    The first group always has room. `begin`: makes the turns of some arms.
    """
    times = dict[str, tuple[float, ...]]()
    taken = dict[str, int]()
    for number, (own, how) in enumerate(groups):
        now = time.monotonic()
        if number and now + LEAST_CALLS * len(own) * call_seconds > until:
            continue
        turns = begin(own)
        deadline = now + max(0.0, until - now) / (len(groups) - number)
        turns.until(Precision(list(own), next(iter(own)), how), deadline, on_progress)
        times |= {arm: tuple(seconds.values()) for arm, seconds in seconds_together(turns.times).items()}
        taken |= {arm: len(rounds) for arm, rounds in turns.times.items()}
    return times, taken


def _by_library(
    times: Mapping[str, tuple[float, ...]], arms: Iterable[str], prefix: str
) -> dict[str, tuple[float, ...]]:
    """Return the times of the arms that begin with a prefix, by the library behind it."""
    return {arm.removeprefix(prefix): times[arm] for arm in arms if arm.startswith(prefix) and arm in times}


def _replays(
    subject: ProfiledCall, until: float = math.inf
) -> tuple[Differences, dict[str, TimedCall], int, list[str]]:
    """Return causes with the arms that measure them, these arms, the steps of the call, and what can't be measured.

    `until`, by `time.monotonic`: when no time is left to measure them.
    """
    found = Differences()
    arms = dict[str, TimedCall]()
    notes = list[str]()
    timed = subject.parts["call"]
    if subject.opaque:
        return found, arms, 1, notes
    with timed.mode():
        try:
            program = record(timed.call)
        except NotFollowed as long:
            return found, arms, 1, [f"needless work was not looked for: {long}"]
        for cause, remedied in suspects(program, trained="forward" in subject.parts).items() if subject.own else ():
            arm = f"without {cause.kind}: {cause.what}"
            if time.monotonic() > until:
                notes.append(f"the cost of {cause.what} was not measured: the budget had no room")
                continue
            try:
                if not arms:
                    arms[REPLAYED] = TimedCall(replay(program), timed.mode)
                arms[arm] = TimedCall(replay(remedied()), timed.mode)
                found[cause] = REPLAYED, arm
            except Exception as error:  # a limit of rnnbench, not of the code
                notes.append(f"the cost of {cause.what} could not be measured: {first_line(error)}")
    return found, arms if found else {}, program.steps, notes


@contextmanager
def _on_one_thread(mode: Mode) -> Iterator[None]:
    """Enter a call's mode, with one thread."""
    with ExitStack() as put_back, mode():
        put_back.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        yield


def _watched(subject: ProfiledCall, folder: Path | None) -> tuple[Kernels | None, dict[str, str]]:
    """Watch a call: return the kernels that a device was given, and the file of a trace in `folder`.

    The trace has Python's frames, shapes and blocks of memory.
    """
    launches = not subject.device.runs_host_code
    timed = subject.parts["call"]
    if folder is None and not launches:
        return None, {}
    with timed.mode():
        timed.call()
        for _ in range(LOOKS):
            for parameter in subject.parameters:
                parameter.grad = None  # the profiler complains if a block is freed whose allocation it did not see
            subject.device.synchronize()
            with torch.profiler.profile(profile_memory=True, with_stack=True, record_shapes=True) as seen:
                timed.call()
                subject.device.synchronize()
    summed = kernels(seen.events()) if launches else None
    if folder is None:
        return summed, {}
    file = f"traces/{file_name(subject.name)}.json.gz"
    (folder / "traces").mkdir(parents=True, exist_ok=True)
    seen.export_chrome_trace(str(folder / file))  # torch packs it
    return summed, {"trace": file}


def kernels(events: Iterable[counts.ProfilerEvent]) -> Kernels | None:
    """Sum the kernels of a profile by the category of the operator that launched them; None if there are none."""
    launched = [(category(event.name), kernel.duration / 1e6) for event in events for kernel in event.kernels]
    seconds: dict[Category, float] = {}
    for what, duration in launched:
        seconds[what] = seconds.get(what, 0.0) + duration
    return Kernels(len(launched), seconds) if launched else None


def file_name(case: str) -> str:
    """Return a file name for a case's key or a module's name: unique, and short enough for file systems."""
    values = "-".join(term.rpartition("=")[2] for term in case.split())
    plain = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "._-" else "-" for letter in values)
    return f"{plain[:60].strip('.-')}-{hashlib.sha256(case.encode()).hexdigest()[:8]}"

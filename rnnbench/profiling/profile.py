"""Where the time of one call goes: timed operators, replays without needless parts, and a trace.

No reported time is taken under a profiler, but those of a GPU's kernels.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from rnnbench.analysis.quiet import LOW_SHARE
from rnnbench.analysis.quiet_rounds import seconds_together
from rnnbench.harness import devices
from rnnbench.harness.devices.cuda import NO_KERNELS
from rnnbench.harness.live.live_cases import is_torchs
from rnnbench.harness.live.loop import LiveTurns, quiet_core, undisturbed
from rnnbench.harness.live.measuring import LiveComparison
from rnnbench.harness.live.stops import Precision
from rnnbench.harness.machine.quiet_core import QuietCore
from rnnbench.harness.turns.schedule import Progress
from rnnbench.profiling.causes import suspects
from rnnbench.profiling.operator_categories import category
from rnnbench.profiling.operators import FASTER_HALF, ClockedOperators, Listing, idle, listing, table
from rnnbench.profiling.product_replays import IDLE_IN_LIBRARY, IN_LIBRARY, Differences, ProductReplays, product_replays
from rnnbench.profiling.profiled_call import ProfiledCall, of_live
from rnnbench.profiling.program import NotFollowed, record
from rnnbench.profiling.replay import replay
from rnnbench.store.profiles import Category, Cause, Kernels, Products, Profile
from rnnbench.suite.file import Settings
from rnnbench.text import error_in_words, first_line
from rnnbench.workloads import counts  # which mutes the profiler's log before its first use
from rnnbench.workloads.phases import Mode, TimedCall

PROFILE_ROUNDS = 10
MAX_ROUND_FACTOR = 3  # times `rounds`, for a replay whose time has not reached `PRECISION` before
PRECISION = 0.01
WINDOW_SECONDS = 0.01
TIMES_SHARE = 0.4  # of the budget of `explain`; the rest is for profiles
OWN_WEIGHT = 3  # a user's module gets so many times the seconds of torch's layer, whose needless work is not looked for
MAKING_SHARE = 0.4  # of the seconds of a profile, after which no other replay is made
LEAST_CALLS = 4  # of each arm in a round
PROFILER_LOOKS = 2  # of torch's profiler; the last is kept: the first in a process is slow
REPLAYED = "replayed"  # the arm that makes the recorded call, with all that may be needless
ONE_THREAD = "one thread"  # the arm that runs the call on one


def explain(
    comparing: AbstractContextManager[LiveComparison],
    settings: Settings,
    folder: Path | None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[LiveComparison, dict[str, Profile]]:
    """Time modules of the user's process in turns, then profile each: the work of `rnnbench.explain(...)`.

    `comparing`: what `compared` returns. A module that can't be profiled has a profile that says why. Raises the same
    errors as `live.measure`.
    """
    started = time.monotonic()
    budget = settings.budget_seconds
    profiles: dict[str, Profile] = {}
    with comparing as comparison:
        of_times = None if budget is None else TIMES_SHARE * budget
        comparison.measure(settings.model_copy(update={"budget_seconds": of_times}), started, on_progress)
        comparison.needed /= TIMES_SHARE
        weights = {name: OWN_WEIGHT - (OWN_WEIGHT - 1) * is_torchs(case.run) for name, case in comparison.cases.items()}
        for name in sorted(weights, key=lambda name: -weights[name]):  # a layer of torch has no causes to look for
            case = comparison.cases[name]
            share = weights[name] / sum(weights.values())
            del weights[name]
            seconds = None if budget is None else share * max(0.0, started + budget - time.monotonic())
            subject = of_live(
                case,
                comparison.calls[name],
                comparison.phase,
                devices.open_device(comparison.device),
                comparison.put_back,
            )
            try:
                with undisturbed():
                    profiles[name] = profile(
                        subject,
                        folder,
                        core=quiet_core(comparison.device, comparison.threads),
                        seconds=seconds,
                        on_progress=on_progress,
                    )
            except Exception as error:  # whatever the code of others raises; the times stay
                profiles[name] = Profile(name, "failed", f"profiling failed: {error_in_words(error)}")
    return comparison, {name: profiles[name] for name in comparison.cases}


def profile(
    subject: ProfiledCall,
    folder: Path | None = None,
    *,
    core: QuietCore | None = None,
    rounds: int = PROFILE_ROUNDS,
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
    call = subject.parts["call"]
    call_seconds = _call_seconds(call)
    # Inference mode hides the parts of composite operators.
    visible = TimedCall(call.call, torch.no_grad if call.mode is torch.inference_mode else call.mode)
    listing_of_call = Listing() if subject.opaque else listing(visible)
    now = time.monotonic()
    needless = _needless_work(subject, now + MAKING_SHARE * (until - now))
    differences = dict(needless.differences)
    notes = list(needless.notes)
    arms = dict(subject.parts)
    products = ProductReplays()
    if listing_of_call.kinds and subject.device.runs_host_code:  # a device's products are only queued
        products = product_replays(listing_of_call, trained="forward" in subject.parts)
        differences |= products.differences
        threads = torch.get_num_threads()
        if threads > 1 and subject.may_have_causes:
            arms[ONE_THREAD] = TimedCall(call.call, partial(_on_one_thread, call.mode))
            differences[Cause("threads", f"{threads} threads", 1)] = "call", ONE_THREAD
    clocked = ClockedOperators(visible)
    idling = ClockedOperators(idle(listing_of_call.kinds))
    operators = {"clocked": clocked.arm, "idle": idling.arm} if listing_of_call.kinds else {}
    waiting = _groups((arms, operators, products.arms), needless.arms, rounds)
    begin = partial(LiveTurns, subject.device, core=core, case_seconds=2 * window_seconds)
    times, rounds_of = _times_of(waiting, begin, until, call_seconds, on_progress)
    if not {*chain(*(group for group, _ in waiting))} <= times.keys():
        notes.append("the budget had no room for all parts of the profile: give it more time")
    is_timed = not operators or "clocked" in times
    device_kernels, files = _watched(subject, folder)
    share = FASTER_HALF if core is None else LOW_SHARE
    return Profile(
        subject.name,
        steps=subject.steps or needless.steps,
        times={arm: times[arm] for arm in subject.parts},
        operators=table(listing_of_call, clocked, idling, rounds_of.get("clocked", 0), share) if is_timed else (),
        opaque=subject.opaque or _why_opaque(subject, device_kernels, is_timed=is_timed),
        causes=_sized(differences, times),
        products=_clocked(products, times),
        kernels=device_kernels,
        files=files,
        notes=tuple(notes),
    )


def _sized(differences: Differences, times: Mapping[str, tuple[float, ...]]) -> tuple[Cause, ...]:
    """Return the causes whose arms were timed, with their costs in each round."""
    return tuple(
        replace(cause, seconds=tuple(np.subtract(times[whole], times[without]).tolist()))
        for cause, (whole, without) in differences.items()
        if {whole, without} <= times.keys()
    )


def _clocked(replays: ProductReplays, times: Mapping[str, tuple[float, ...]]) -> Products | None:
    """Return the products of a call with their times in each library; None if it makes none."""
    if replays.products is None:
        return None
    return replace(
        replays.products,
        seconds=_by_library(times, replays.arms, IN_LIBRARY),
        idle_seconds=_by_library(times, replays.arms, IDLE_IN_LIBRARY),
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
    longer = settings.model_copy(update={"max_replicates": MAX_ROUND_FACTOR * rounds, "precision": PRECISION})
    *first, last = arms
    groups = [*((each, settings) for each in first), (replays, longer), (last, settings)]
    return [(each, how) for each, how in groups if each]


def _why_opaque(subject: ProfiledCall, device_kernels: Kernels | None, *, is_timed: bool) -> str:
    """Return why the operators of a call, or the kernels that it launches, are not known; empty if they are."""
    if not device_kernels and not subject.device.runs_host_code:
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
    rounds_of = dict[str, int]()
    for number, (arms, how) in enumerate(groups):
        now = time.monotonic()
        if number and now + LEAST_CALLS * len(arms) * call_seconds > until:
            continue
        turns = begin(arms)
        deadline = now + max(0.0, until - now) / (len(groups) - number)
        turns.until(Precision(list(arms), next(iter(arms)), how), deadline, on_progress)
        times |= {arm: tuple(seconds.values()) for arm, seconds in seconds_together(turns.times).items()}
        rounds_of |= {arm: len(rounds) for arm, rounds in turns.times.items()}
    return times, rounds_of


def _by_library(
    times: Mapping[str, tuple[float, ...]], arms: Iterable[str], prefix: str
) -> dict[str, tuple[float, ...]]:
    """Return the times of the arms that begin with a prefix, by the library behind it."""
    return {arm.removeprefix(prefix): times[arm] for arm in arms if arm.startswith(prefix) and arm in times}


@dataclass(frozen=True)
class NeedlessWork:
    """The needless work of a call that can be measured."""

    differences: Differences = field(default_factory=dict)
    arms: Mapping[str, TimedCall] = field(default_factory=dict)  # that measure these
    steps: int = 1  # of the call
    notes: Sequence[str] = ()  # what can't be measured, and why


def _needless_work(subject: ProfiledCall, until: float = math.inf) -> NeedlessWork:
    """Look for needless work in a call, and make the arms that measure it.

    `until`, by `time.monotonic`: when no time is left to measure them.
    """
    differences = Differences()
    arms = dict[str, TimedCall]()
    notes = list[str]()
    timed = subject.parts["call"]
    if subject.opaque:
        return NeedlessWork()
    with timed.mode():
        try:
            program = record(timed.call)
        except NotFollowed as long:
            return NeedlessWork(notes=[f"needless work was not looked for: {long}"])
        causes = suspects(program, trained="forward" in subject.parts) if subject.may_have_causes else {}
        for cause, remedied in causes.items():
            arm = f"without {cause.kind}: {cause.what}"
            if time.monotonic() > until:
                notes.append(f"the cost of {cause.what} was not measured: the budget had no room")
                continue
            try:
                if not arms:
                    arms[REPLAYED] = TimedCall(replay(program), timed.mode)
                arms[arm] = TimedCall(replay(remedied()), timed.mode)
                differences[cause] = REPLAYED, arm
            except Exception as error:  # a limit of rnnbench, not of the code
                notes.append(f"the cost of {cause.what} could not be measured: {first_line(error)}")
    return NeedlessWork(differences, arms if differences else {}, program.steps, notes)


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
        for _ in range(PROFILER_LOOKS):
            for parameter in subject.parameters:
                parameter.grad = None  # the profiler complains if a block is freed whose allocation it did not see
            subject.device.synchronize()
            with torch.profiler.profile(profile_memory=True, with_stack=True, record_shapes=True) as profiler:
                timed.call()
                subject.device.synchronize()
    summed = kernels(profiler.events()) if launches else None
    if folder is None:
        return summed, {}
    file = f"traces/{file_name(subject.name)}.json.gz"
    (folder / "traces").mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(folder / file))  # torch packs it
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

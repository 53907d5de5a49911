"""Where the time of one call goes: timed operators, replays without needless parts, and a trace.

No reported time is taken under a profiler, but those of a GPU's kernels.
"""

import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rnnbench.harness import devices
from rnnbench.harness.live.loop import LiveTurns, Precision
from rnnbench.harness.live.measuring import LiveComparison, compared
from rnnbench.harness.live.put_back import undisturbed
from rnnbench.harness.protocol import Reply
from rnnbench.harness.turns.progress import Progress
from rnnbench.profiling.causes import suspects
from rnnbench.profiling.operators import ClockedOperators, category, idle, listing, table
from rnnbench.profiling.products import IDLE, IN, Differences, product_replays
from rnnbench.profiling.program import NotFollowed, record
from rnnbench.profiling.replay import replay
from rnnbench.profiling.subject import ProfiledCall, of_built, of_live
from rnnbench.store.profiles import Category, Cause, Kernels, Profile
from rnnbench.store.records import Phase
from rnnbench.suite.file import Settings
from rnnbench.text import error_in_words, first_line
from rnnbench.workloads import calls  # which mutes the profiler's log before its first use
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import Built

ROUNDS = 10
MAX_ROUNDS = 3  # times `rounds`, for a replay whose time has not reached `PRECISION` before
PRECISION = 0.01
WINDOW_SECONDS = 0.01
REPLAYED = "replayed"  # the arm that makes the recorded call, with all that may be needless
LOOKS = 2  # of torch's profiler; the last is kept: the first in a process is slow
NO_KERNELS = (
    "torch's profiler saw no kernel of this call: it has no CUPTI, or another profiler or the driver forbids it"
)
ONE_THREAD = "one thread"  # the arm that runs the call on one
MEASURED = ("call", "forward", "forward_backward")  # arms whose times a profile keeps


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
    profiles: dict[str, Profile] = {}
    with compared(modules, input, phase, reference, threads) as found:
        found.measure(settings, started, on_progress)
        for name, case in found.cases.items():
            subject = of_live(case, found.calls[name], phase, devices.open_device(found.device), found.put_back)
            try:
                with undisturbed():
                    profiles[name] = profile(subject, folder, on_progress=on_progress)
            except Exception as error:  # whatever the code of others raises; the times stay
                profiles[name] = Profile(name, "failed", f"profiling failed: {error_in_words(error)}")
    return found, profiles


def answer(built: object, request: Mapping[str, Any]) -> Reply:
    """Profile a case in a worker; raises Skip if its phase can't be profiled, and any error of the call."""
    if not isinstance(built, Built):
        raise Skip("the phase `loading` has no model to profile")
    subject = of_built(built, devices.open_device(built.case.workload.device))
    limits = {name: request[name] for name in ("window_seconds", "seconds")}
    return {"ok": True, "profile": profile(subject, Path(request["folder"]), **limits).to_json()}


def profile(
    subject: ProfiledCall,
    folder: Path | None = None,
    *,
    rounds: int = ROUNDS,
    window_seconds: float = WINDOW_SECONDS,
    seconds: float | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    now: Callable[[], float] = time.monotonic,
) -> Profile:
    """Find out where the time of a call goes; its trace is written into `folder`, if one is given.

    With `seconds`, fewer rounds are taken if these would take longer, at least one. Raises any error of the call.
    `notes` says which parts of the profile are missing.
    """
    until = None if seconds is None else now() + seconds
    with subject.call.mode():
        subject.call.call()  # lazy set-up
    # Inference mode hides the parts of composite operators.
    eager = torch.no_grad if subject.call.mode is torch.inference_mode else subject.call.mode
    visible = TimedCall(subject.call.call, eager)
    listed = None if subject.opaque else listing(visible)
    subject.drop_gradients()
    differences, replays, steps, notes = _replays(subject)
    is_host_code = listed is not None and subject.device.runs_host_code
    products, product_arms = None, dict[str, TimedCall]()
    if listed and is_host_code:  # a device's products are only queued
        products, product_arms, gradients = product_replays(listed, trained=subject.trained)
        differences |= gradients
    parts = {"call": subject.call, "forward": subject.forward, "forward_backward": subject.forward_backward}
    arms = {name: part for name, part in parts.items() if part is not None}
    threads = torch.get_num_threads()
    if threads > 1 and subject.own and is_host_code:
        arms[ONE_THREAD] = _on_one_thread(subject.call)  # compiled code has its threads built in
        differences[Cause("threads", f"{threads} threads", 1)] = "call", ONE_THREAD
    clocked, idling = ClockedOperators(visible), ClockedOperators(idle(listed.kinds if listed else []))
    operators = {} if listed is None else {"clocked": clocked.arm(), "idle": idling.arm()}
    settings = Settings(replicates=rounds, max_replicates=rounds, precision=None)
    longer = settings.model_copy(update={"max_replicates": MAX_ROUNDS * rounds, "precision": PRECISION})
    # Each group has rounds of its own, since the slowest arm's call sets the block length for all arms of a round.
    groups = [(arms, settings), (replays, longer), (product_arms, settings), (operators, settings)]
    waiting = [group for group in groups if group[0]]
    times: dict[str, tuple[float, ...]] = {}
    for number, (own, how) in enumerate(waiting):
        deadline = math.inf if until is None else now() + max(0.0, until - now()) / (len(waiting) - number)
        turns = LiveTurns(subject.device, own, case_seconds=2 * window_seconds, now=now)
        turns.until(Precision(list(own), next(iter(own)), how), deadline, on_progress)
        times |= {arm: tuple(each.median for each in of_arm) for arm, of_arm in turns.times.items()}
    finished = len(times["clocked"]) if operators else 0
    rounds = min(len(times[arm]) for arm in (*arms, *operators))  # equal numbers, of which there may be fewer
    times |= {arm: times[arm][-rounds:] for arm in arms}
    in_libraries, idle_in_libraries = (
        {arm.removeprefix(prefix): times[arm] for arm in product_arms if arm.startswith(prefix)}
        for prefix in (IN, IDLE)
    )
    result = Profile(
        subject.name,
        steps=subject.steps or steps,
        times={arm: times[arm] for arm in MEASURED if arm in arms},
        operators=() if listed is None else table(listed, clocked, idling, finished, rounds),
        opaque=subject.opaque,
        causes=tuple(
            replace(cause, seconds=tuple(np.subtract(times[whole], times[without]).tolist()))
            for cause, (whole, without) in differences.items()
        ),
        products=products and replace(products, seconds=in_libraries, idle_seconds=idle_in_libraries),
        notes=tuple(notes),
    )
    return _with_trace(subject, result, folder)


def _replays(subject: ProfiledCall) -> tuple[Differences, dict[str, TimedCall], int, list[str]]:
    """Return causes with the arms that measure them, these arms, the steps of the call, and what can't be measured."""
    found, arms, notes = Differences(), dict[str, TimedCall](), list[str]()
    if subject.opaque:
        return found, arms, 1, notes
    with subject.call.mode():
        try:
            program = record(subject.call.call)
        except NotFollowed as long:
            return found, arms, 1, [f"needless work was not looked for: {long}"]
        finally:
            subject.drop_gradients()
        suspected = suspects(program, trained=subject.trained) if subject.own else {}
        for cause, remedied in suspected.items():
            arm = f"without {cause.kind}: {cause.what}"
            try:
                if not arms:
                    arms[REPLAYED] = TimedCall(replay(program), subject.call.mode)
                arms[arm] = TimedCall(replay(remedied()), subject.call.mode)
                found[cause] = REPLAYED, arm
            except Exception as error:  # a limit of rnnbench, not of the code
                notes.append(f"the cost of {cause.what} could not be measured: {first_line(error)}")
            finally:
                subject.drop_gradients()
    return found, arms if found else {}, program.steps, notes


def _on_one_thread(timed: TimedCall) -> TimedCall:
    """Return the same call on one thread."""
    threads = torch.get_num_threads()

    @contextmanager
    def mode() -> Iterator[None]:
        torch.set_num_threads(1)
        try:
            with timed.mode():
                yield
        finally:
            torch.set_num_threads(threads)

    return TimedCall(timed.call, mode)


def _with_trace(subject: ProfiledCall, result: Profile, folder: Path | None) -> Profile:
    """Return the profile with what one watched call shows: a GPU's kernels, and a trace in `folder`.

    The trace has Python's frames, shapes and blocks of memory.
    """
    launches, timed = not subject.device.runs_host_code, subject.call
    if folder is None and not launches:
        return result
    with timed.mode():
        timed.call()
        for _ in range(LOOKS):
            subject.drop_gradients()  # the profiler complains if a block is freed whose allocation it did not see
            subject.device.synchronize()
            with torch.profiler.profile(profile_memory=True, with_stack=True, record_shapes=True) as seen:
                timed.call()
                subject.device.synchronize()
    if launches:
        summed = kernels(seen.events())
        result = replace(result, kernels=summed, no_kernels="" if summed else NO_KERNELS)
    if folder is None:
        return result
    file = f"traces/{file_name(subject.name)}.json.gz"
    (folder / "traces").mkdir(parents=True, exist_ok=True)
    seen.export_chrome_trace(str(folder / file))  # torch packs it
    return replace(result, files={"trace": file})


def kernels(events: Iterable[calls.ProfilerEvent]) -> Kernels | None:
    """Sum the kernels of a profile by the category of the operator that launched them; None if there are none."""
    launched = [(category(event.name), kernel.duration / 1e6) for event in events for kernel in event.kernels]
    seconds: dict[Category, float] = defaultdict(float)
    for what, duration in launched:
        seconds[what] += duration
    return Kernels(len(launched), dict(seconds)) if launched else None


def file_name(case: str) -> str:
    """A file name for a case's key or a module's name: unique, and short enough for file systems."""
    values = "-".join(term.rpartition("=")[2] for term in case.split())
    plain = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "._-" else "-" for letter in values)
    return f"{plain[:60].strip('.-')}-{hashlib.sha256(case.encode()).hexdigest()[:8]}"

"""Where the time of one call goes: timed operators, replays without needless parts, and a profiler's view.

The reported times are not taken under a profiler. How much a profiler slows the call is measured and reported, too.
"""

import hashlib
import math
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rnnbench.harness.devices import Cuda
from rnnbench.harness.live.loop import LiveTurns, Precision
from rnnbench.harness.profiling import causes, profiler, threads
from rnnbench.harness.profiling.operators import ClockedOperators, Listing, eager_mode, idle, listing, table
from rnnbench.harness.profiling.products import ProductReplays, product_replays
from rnnbench.harness.profiling.program import Program, TooLong, record
from rnnbench.harness.profiling.recurrence import steps_of
from rnnbench.harness.profiling.remedies import Remedy
from rnnbench.harness.profiling.replay import Replay, ReplayDiffers
from rnnbench.harness.profiling.subject import ProfiledCall
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.profiles import Cause, Profile
from rnnbench.suite_file import Settings
from rnnbench.text import error_in_words
from rnnbench.workloads.phases import TimedCall

ROUNDS = 10
MAX_ROUNDS = 3  # times `rounds`, for a replay whose time has not reached `PRECISION` before
PRECISION = 0.01
WINDOW_SECONDS = 0.01
WINDOWS = 2  # of each arm in a round
KEPT = ("replayed", "unprofiled", "profiled", "clocked")  # arms whose times a profile keeps, besides the call's parts
MAX_OPERATORS = 100_000  # in a profiled call: the profiler needs about a kilobyte for each


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
    """Find out where the time of a call goes; traces and stacks are written into `folder`, if one is given.

    With `seconds`, fewer rounds are taken if these would take longer, at least one. Raises any error of the call.
    `notes` says which parts of the profile are missing.
    """
    until = None if seconds is None else now() + seconds
    with subject.call.mode():
        subject.call.call()  # lazy set-up
    listed = None if subject.opaque else listing(_with_visible_operators(subject))
    subject.drop_gradients()
    program, notes = _recorded_program(subject)
    suspects = [] if program is None else causes.suspects(program, trained=subject.trained)
    arms, (replays, reasons) = _arms(subject), _replays(subject, suspects, program)
    products = _products(subject, listed)
    clocked, idling = (
        ClockedOperators(_with_visible_operators(subject)),
        ClockedOperators(idle([] if listed is None else listed.kinds)),
    )
    slow = {"unprofiled": subject.call, "profiled": _under_profiler(subject.call)}
    if listed is not None:
        slow |= {"clocked": clocked.arm(), "idle": idling.arm()}
    settings = Settings(replicates=rounds, max_replicates=rounds, precision=None, window_seconds=window_seconds)
    longer = settings.model_copy(update={"max_replicates": MAX_ROUNDS * rounds, "precision": PRECISION})
    groups = [(arms, settings), (replays, longer), (products.arms, settings), (slow, settings)]
    times = _times(subject, groups, on_progress, until, now)
    rounds = min(len(times[arm]) for arm in (*arms, *slow))  # equal numbers, of which the time may have allowed fewer
    for each in (clocked, idling):
        each.rounds[:] = each.rounds[1 : 1 + len(times["unprofiled"])]  # the time may have cut the last one short
    times |= {arm: times[arm][-rounds:] for arm in (*arms, *slow)}
    result = Profile(
        subject.name,
        steps=subject.steps or (1 if program is None else steps_of(program)),
        times={arm: times[arm] for arm in (*arms, *KEPT) if arm in times and arm != threads.ARM},
        operators=() if listed is None else table(listed, clocked, idling, rounds),
        opaque=subject.opaque,
        causes=(
            *(_cause(suspect, index, times, reasons) for index, suspect in enumerate(suspects)),
            *products.causes(times),
            *threads.causes(times),
        ),
        products=products.products(times) if products.library else None,
        notes=tuple(notes),
    )
    del arms, replays, products, slow, program, suspects  # also frees the tensors of a call
    if listed is not None and len(listed.order) > MAX_OPERATORS:
        more = f"not profiled: it has more than {MAX_OPERATORS:,} operators; its trace would be too large to read"
        return replace(result, no_kernels=more if _launches(subject) else "", notes=(*result.notes, more))
    return _with_profiler(subject, result, folder)


def _times(
    subject: ProfiledCall,
    groups: Iterable[tuple[dict[str, TimedCall], Settings]],
    on_progress: Callable[[Progress], None],
    until: float | None,
    now: Callable[[], float],
) -> dict[str, tuple[float, ...]]:
    """Seconds of each arm, one value for each round.

    Each group has rounds of its own, because the slowest arm's call sets the block length for all arms of a round. Each
    has an equal part of the time that is left.
    """
    times: dict[str, tuple[float, ...]] = {}
    waiting = [(arms, settings) for arms, settings in groups if arms]
    for number, (arms, settings) in enumerate(waiting):
        deadline = math.inf if until is None else now() + max(0.0, until - now()) / (len(waiting) - number)
        seconds = settings.window_seconds  # long turns, since a profiler takes its time to start in each
        turns = LiveTurns(subject.device, arms, case_seconds=WINDOWS * seconds, turn_seconds=seconds, now=now)
        turns.until(Precision(list(arms), next(iter(arms)), settings), deadline, on_progress)
        times |= {arm: tuple(each.median for each in of_arm) for arm, of_arm in turns.times.items()}
    return times


def _with_visible_operators(subject: ProfiledCall) -> TimedCall:
    """The call in a mode in which torch shows each of its operators."""
    return TimedCall(subject.call.call, eager_mode(subject.call.mode))


def _recorded_program(subject: ProfiledCall) -> tuple[Program | None, list[str]]:
    """The torch functions of the call, in which causes are looked for; None if they aren't, with notes that say why."""
    if subject.opaque or not subject.own:
        return None, []
    try:
        with subject.call.mode():
            return record(subject.call.call), []
    except TooLong as long:
        return None, [f"causes were not looked for: {long}"]
    finally:
        subject.drop_gradients()


def _arms(subject: ProfiledCall) -> dict[str, TimedCall]:
    """The call, its first parts (`forward`, `forward_backward`), and the call on one thread, by name."""
    arms = {"call": subject.call}
    if subject.forward is not None:
        arms["forward"] = subject.forward
    if subject.forward_backward is not None:
        arms["forward_backward"] = subject.forward_backward
    if subject.own and not subject.opaque and not _launches(subject):  # compiled code has its threads built in
        arms |= threads.one_thread(subject.call)
    return arms


def _products(subject: ProfiledCall, listed: Listing | None) -> ProductReplays:
    """Replays of the call's products; without a library if there are none, or if a device would only queue them."""
    if listed is None or _launches(subject):
        return ProductReplays("")
    try:
        return product_replays(_with_visible_operators(subject), listed, trained=subject.trained)
    finally:
        subject.drop_gradients()


def _replays(
    subject: ProfiledCall, suspects: list[causes.Suspect], program: Program | None
) -> tuple[dict[str, TimedCall], dict[int, str]]:
    """Replays of the call: whole and without each suspect; and, by a suspect's index, why it can't be left out."""
    arms: dict[str, TimedCall] = {}
    reasons: dict[int, str] = {}
    for index, suspect in enumerate(suspects):
        assert program is not None  # otherwise there would be no suspects
        without = suspect.note or _replay_with(subject, program, suspect.remedies)
        if isinstance(without, str):
            reasons[index] = without
        else:
            arms[f"without {index}"] = without
    if not arms:
        return {}, reasons
    assert program is not None
    whole = _replay_with(subject, program, ())
    assert isinstance(whole, TimedCall)  # since a replay of a part works
    return {"replayed": whole, **arms}, reasons


def _replay_with(subject: ProfiledCall, program: Program, remedies: Iterable[Remedy]) -> TimedCall | str:
    """The call's replay with these remedies, or why there is none, which is a limit of rnnbench, not of the code."""
    try:
        with subject.call.mode():
            replay = Replay(program)
            for remedy in remedies:
                remedy(replay)
            return TimedCall(replay.call(), subject.call.mode)
    except ReplayDiffers as unlike:
        return f"it can't be left out: {unlike}"
    except Exception as error:
        traceback.print_exc()
        return f"it can't be left out: {error_in_words(error)}"
    finally:
        subject.drop_gradients()


def _under_profiler(timed: TimedCall) -> TimedCall:
    """The same call under torch's profiler."""

    @contextmanager
    def mode() -> Iterator[None]:
        with timed.mode(), profiler.profiler(whole=False):
            yield

    return TimedCall(timed.call, mode)


def _cause(
    suspect: causes.Suspect, index: int, times: Mapping[str, tuple[float, ...]], reasons: Mapping[int, str]
) -> Cause:
    """A suspect with the seconds that the call saves without it in each round, or why they can't be measured."""
    without = times.get(f"without {index}")
    if without is None:
        return Cause(suspect.kind, suspect.what, suspect.calls, note=reasons[index])
    saved = tuple(seconds - less for seconds, less in zip(times["replayed"], without, strict=True))
    return Cause(suspect.kind, suspect.what, suspect.calls, saved)


def _launches(subject: ProfiledCall) -> bool:
    """Whether the device queues kernels and runs them later."""
    return not subject.device.runs_host_code


def _with_profiler(subject: ProfiledCall, result: Profile, folder: Path | None) -> Profile:
    """The profile, completed with the results of torch's profiler."""
    name = file_name(subject.name)
    trace = None if folder is None else folder / "traces" / f"{name}.json.gz"
    found = profiler.run_profiler(
        subject.call, subject.drop_gradients, subject.device.synchronize, trace, launches=_launches(subject)
    )
    files: dict[str, str] = {}
    if folder is not None:
        stacks = folder / "traces" / f"{name}.stacks.txt"
        lines = (
            f"{';'.join(frame.replace(';', ',') for frame in stack)} {size}" for stack, size in found.stacks.items()
        )
        stacks.write_text("\n".join(lines) + "\n", encoding="utf-8")
        files = {"trace": f"traces/{name}.json.gz", "stacks": f"traces/{name}.stacks.txt"}
        snapshot = folder / "traces" / f"{name}.memory.pickle"
        if isinstance(subject.device, Cuda):
            subject.device.snapshot(subject.call, snapshot)
            files["snapshot"] = f"traces/{snapshot.name}"
    return replace(
        result,
        operators=tuple(
            replace(operator, profiler_seconds=found.operator_seconds.get((operator.name, operator.shapes)))
            for operator in result.operators
        ),
        kernels=found.kernels,
        no_kernels=found.no_kernels,
        allocations=found.allocations,
        allocated_bytes=found.allocated_bytes,
        memory=found.memory,
        memory_parts=found.memory_parts,
        files=files,
        notes=(*result.notes, *found.notes),
    )


def file_name(case: str) -> str:
    """A file name for a case's key or a module's name: unique, and short enough for file systems."""
    values = "-".join(term.rpartition("=")[2] for term in case.split())
    plain = "".join(letter if (letter.isascii() and letter.isalnum()) or letter in "._-" else "-" for letter in values)
    return f"{plain[:60].strip('.-')}-{hashlib.sha256(case.encode()).hexdigest()[:8]}"

"""Where the time of one call goes: its operators clocked where they stand, its needless parts left out, and one look by a profiler.

Nothing that is timed here is timed under a profiler; how much that would slow the call is measured as well, and told.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from rnnbench.measure.live.rounds import Rounds
from rnnbench.measure.profiling import causes, profiler
from rnnbench.measure.profiling.operators import WINDOWS, Clocked, eager_mode, idle, listing, table
from rnnbench.measure.profiling.program import Replaced, TooLong, Watched, watch
from rnnbench.measure.profiling.subject import Subject
from rnnbench.measure.runner import Progress
from rnnbench.store.profiles import Cause, Profile
from rnnbench.suite_file import Settings
from rnnbench.workloads.phases import TimedCall

ROUNDS = 6
WINDOW_SECONDS = 0.004
MOST_OPERATORS = 100_000  # in a call that is profiled: each costs the profiler about a kilobyte


def profile(
    subject: Subject,
    folder: Path | None = None,
    *,
    rounds: int = ROUNDS,
    window_seconds: float = WINDOW_SECONDS,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Profile:
    """Take a call apart; traces and stacks are written into `folder`, if one is given.

    Raises whatever the call raises. A part that can't be had is told in `notes`.
    """
    with subject.call.mode():
        subject.call.call()  # lazy set-up
    found = None if subject.opaque else listing(_seen_through(subject))
    subject.forget()
    watched, notes = _watched(subject)
    suspects = [] if watched is None else causes.suspects(watched, trained=subject.trained)
    arms, told = _arms(subject, suspects)
    clocked, idling = Clocked(_seen_through(subject)), Clocked(idle([] if found is None else found.kinds))
    if found is not None:
        arms |= {"clocked": clocked.arm(), "idle": idling.arm()}
    settings = Settings(
        replicates=rounds, most_replicates=rounds, precision=None, windows=WINDOWS, window_seconds=window_seconds
    )
    taken = Rounds(subject.device, arms, "call", settings, on_progress=on_progress).run()
    times = {arm: tuple(one.low for one in each) for arm, each in taken.times.items()}
    result = Profile(
        subject.name,
        steps=subject.steps or (1 if watched is None else causes.steps_of(watched)),
        times={arm: values for arm, values in times.items() if not arm.startswith(("idle", "without "))},
        operators=() if found is None else table(found, clocked, idling, rounds),
        opaque=subject.opaque,
        causes=tuple(_cause(one, place, times, told) for place, one in enumerate(suspects)),
        notes=tuple(notes),
    )
    del arms, watched, suspects  # and with them the tensors of a call
    if found is not None and len(found.order) > MOST_OPERATORS:
        more = f"not profiled: it has more than {MOST_OPERATORS:,} operators; its trace would be too large to read"
        return replace(result, notes=(*result.notes, more))
    return _with_profiler(subject, result, folder)


def _seen_through(subject: Subject) -> TimedCall:
    """The call in a mode in which its operators can be seen."""
    return TimedCall(subject.call.call, eager_mode(subject.call.mode))


def _watched(subject: Subject) -> tuple[Watched | None, list[str]]:
    if subject.opaque or not subject.own:
        return None, []
    try:
        with subject.call.mode():
            return watch(subject.call.call), []
    except TooLong as long:
        return None, [f"causes were not looked for: {long}"]
    finally:
        subject.forget()


def _arms(subject: Subject, suspects: list[causes.Suspect]) -> tuple[dict[str, TimedCall], dict[int, str]]:
    """What is timed in turns, by name; and by a suspect's place why it can't be left out."""
    arms = {"call": subject.call, "profiled": _profiled(subject.call)}
    if subject.forward is not None:
        arms["forward"] = subject.forward
    if subject.forward_backward is not None:
        arms["forward_backward"] = subject.forward_backward
    told: dict[int, str] = {}
    for place, suspect in enumerate(suspects):
        told[place] = suspect.note or _fault(subject, _with(subject.call, suspect))
        if not told[place]:
            arms[f"without {place}"] = _with(subject.call, suspect)
    if any(arm.startswith("without ") for arm in arms):
        arms["watched"] = _with(subject.call, causes.NOTHING)
    return arms, told


def _profiled(timed: TimedCall) -> TimedCall:
    """The same call as torch's profiler sees it."""

    @contextmanager
    def mode() -> Iterator[None]:
        with timed.mode(), profiler.profiler(whole=False):
            yield

    return TimedCall(timed.call, mode)


def _with(timed: TimedCall, suspect: causes.Suspect) -> TimedCall:
    """The call without what the suspect does, under the same interception as one that does it."""
    replaced = Replaced(suspect.instead)

    def call() -> None:
        replaced.restart()
        for one in suspect.to_grow:
            one.restart()
        timed.call()

    @contextmanager
    def mode() -> Iterator[None]:
        with timed.mode(), replaced:
            yield

    return TimedCall(call, mode)


def _fault(subject: Subject, timed: TimedCall) -> str:
    """Why a call can't be made that way; empty where it can. What it raises is our doing, and no fault of its code."""
    try:
        with timed.mode():
            timed.call()
    except Exception as error:
        traceback.print_exc()
        return f"it can't be left out: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
    finally:
        subject.forget()
    return ""


def _cause(
    suspect: causes.Suspect, place: int, times: Mapping[str, tuple[float, ...]], told: Mapping[int, str]
) -> Cause:
    without = times.get(f"without {place}", ())
    saved = tuple(here - there for here, there in zip(times["watched"], without, strict=True)) if without else ()
    return Cause(suspect.kind, suspect.what, suspect.calls, saved, told[place])


def _with_profiler(subject: Subject, result: Profile, folder: Path | None) -> Profile:
    """The profile with what torch's profiler adds."""
    name = file_name(subject.name)
    trace = None if folder is None else folder / "traces" / f"{name}.json.gz"
    seen = profiler.see(subject.call, subject.forget, subject.device.synchronize, trace)
    files: dict[str, str] = {}
    if folder is not None:
        stacks = folder / "traces" / f"{name}.stacks.txt"
        lines = (f"{';'.join(one.replace(';', ',') for one in stack)} {size}" for stack, size in seen.stacks.items())
        stacks.write_text("\n".join(lines) + "\n", encoding="utf-8")
        files = {"trace": f"traces/{name}.json.gz", "stacks": f"traces/{name}.stacks.txt"}
        snapshot = folder / "traces" / f"{name}.memory.pickle"
        if subject.device.snapshot(subject.call, snapshot):
            files["snapshot"] = f"traces/{snapshot.name}"
    return replace(
        result,
        operators=tuple(
            replace(one, profiler_seconds=seen.operator_seconds.get((one.name, one.shapes)))
            for one in result.operators
        ),
        kernels=seen.kernels,
        allocations=seen.allocations,
        allocated_bytes=seen.allocated_bytes,
        memory=seen.memory,
        memory_parts=seen.memory_parts,
        files=files,
        notes=(*result.notes, *seen.notes),
    )


def file_name(case: str) -> str:
    """A case's key, or a module's name, as a file can have it: no longer than file systems allow, and no other's."""
    import hashlib

    values = "-".join(term.rpartition("=")[2] for term in case.split())
    plain = "".join(letter if letter.isascii() and letter.isalnum() or letter in "._-" else "-" for letter in values)
    return f"{plain[:60].strip('.-')}-{hashlib.sha256(case.encode()).hexdigest()[:8]}"



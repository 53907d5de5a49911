"""A live check from start to end: two sides take turns until every case is decided or the budget is spent."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from rnnbench.analysis.changes import changes
from rnnbench.analysis.comparison import (
    SAME_CODE,
    Comparison,
    Finding,
    finding,
    newly_suspect,
    one_sided,
    ordered,
)
from rnnbench.analysis.verdict import LOOK_CONFIDENCE, Evidence, Judged, Trial, located, share_of_look
from rnnbench.cells import is_own
from rnnbench.errors import Interrupted, UserError
from rnnbench.groups import cases_of, with_cases
from rnnbench.harness.check.instructions import InstructionCheck, InstructionsMode
from rnnbench.harness.check.looks import (
    LOOK_GROWTH,
    MIN_PAIRS,
    MIN_PAIRS_FOR_UNCHANGED,
    MIN_PAIRS_TO_TRIM,
    PAIRS_TO_CHOOSE,
)
from rnnbench.harness.check.more_time import more_time, too_few_pairs, too_short
from rnnbench.harness.check.observed_before import CHECKED_OUT, observed_before
from rnnbench.harness.check.own_code import refuse_equal, untracked
from rnnbench.harness.check.paired import PairedRunner, Ratios
from rnnbench.harness.check.pairs import WorkerPairs
from rnnbench.harness.check.selection import Selection, strictest
from rnnbench.harness.check.sides import Side
from rnnbench.harness.coordinator import environment
from rnnbench.harness.devices import is_shared
from rnnbench.harness.machine.variables import library_notes
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.folder import RunFolder, dated_folder
from rnnbench.store.records import Case, Group
from rnnbench.store.run_info import RunInfo
from rnnbench.suite_file import Settings

GUARD_PAIRS = 2  # of which the second is for the cases that look changed in the first
GUARD_RATIO = 1.25  # a case beyond it in both is timed, whatever its code tells


def check(
    base: Side,
    head: Side,
    selection: Selection,
    *,
    out: Path,
    command: str,
    on_progress: Callable[[Progress], None],
    on_warning: Callable[[str], None] = lambda text: None,
    start_pairs: Callable[[Sequence[Side]], WorkerPairs] = WorkerPairs,
    start_runner: Callable[..., PairedRunner] = PairedRunner,
    instructions: InstructionsMode | None = None,
    share: float = 1.0,
    everything: bool = False,
) -> tuple[Path, Comparison]:
    """Measure both sides into a new folder below `out`, and judge them.

    `on_warning` is called with messages for the user before anything is measured. `instructions`: whether they are
    counted, after the time was measured; `share`: of the error rate, for one of several checks; `everything`: also
    cases that run the same code on both sides are timed. Raises UserError if `out` can't be written, a side can't
    start, its rnnbench is too old, or instructions are a gate and nothing counts them here. Raises Interrupted on
    Ctrl-C or SIGTERM: what was measured stays, without a verdict.
    """
    cases = cases_of(selection.groups)
    suite, allowed, loosened = strictest(base.suite, head.suite, cases)
    head, budget_seconds = replace(head, suite=suite), suite.content.check.budget_seconds
    counting = InstructionCheck.of(instructions)
    if counting.why_not:
        on_warning(counting.why_not)
    trial = Trial(allowed)

    def warn(pairs: WorkerPairs, number: int) -> None:
        if warning := too_short(pairs, number, MIN_PAIRS, budget_seconds):
            on_warning(warning)

    with observed(
        base,
        head,
        selection.groups,
        lambda: dated_folder(out, f"{head.suite.name}-check"),
        command,
        on_progress,
        start_pairs=start_pairs,
        start_runner=start_runner,
        everything=everything,
        on_cases=warn,
    ) as (runner, folder):
        groups = changed_groups(runner, selection.groups)
        if groups:
            measure(runner, groups, trial, budget_seconds, on_progress, share=share)
        runner.notes += loosened + runner.recorded_notes()
        runner.notes += untracked(base, head, {side.name: runner.imported(side.name) for side in (base, head)})
        seconds = runner.seconds
        counting.count(runner, groups, on_progress)
    comparison = _comparison(runner, base, head, selection, trial, budget_seconds, seconds)
    return folder, counting.added(comparison)


@contextmanager
def observed(
    base: Side,
    head: Side,
    groups: Sequence[Group],
    make_folder: Callable[[], Path],
    command: str,
    on_progress: Callable[[Progress], None],
    *,
    start_pairs: Callable[[Sequence[Side]], WorkerPairs] = WorkerPairs,
    start_runner: Callable[..., PairedRunner] = PairedRunner,
    everything: bool = True,
    on_cases: Callable[[WorkerPairs, int], None] = lambda pairs, number: None,
) -> Iterator[tuple[PairedRunner, Path]]:
    """A runner that has observed every case on both sides, and the folder that keeps what it measures.

    `make_folder` is called when both sides have started. Unless `everything` is wanted, the cases that run the same
    code on both sides are found first, and observed only if a file that was imported differs; `on_cases` gets the
    number of the others. Raises UserError if a side can't start, its rnnbench is too old or it imports another side's
    code; Interrupted on Ctrl-C or SIGTERM, also for what happens in the context.
    """
    cases = cases_of(groups)
    own = tuple(dict.fromkeys(name for case in cases for name in case.named_code if is_own(name)))
    may_fork = sys.platform == "linux" and all(is_shared(case.workload.device) for case in cases)
    base, head = (replace(side, imports=own, may_fork=may_fork) for side in (base, head))
    pairs = start_pairs((base, head))
    with ExitStack() as stack:
        stack.callback(pairs.end)
        hellos = pairs.start()
        folder = make_folder()
        with _faults_in_words(folder):
            for side in (base, head):
                (folder / side.name).mkdir()
            infos = {side.name: _info(side, head.suite.settings, hellos[side.name], command) for side in (base, head)}
            before = observed_before(folder.parent, infos["base"])
            runs = {name: stack.enter_context(_run(folder / name, info, pairs)) for name, info in infos.items()}
            runner = start_runner(pairs, runs, cases, head.suite.settings)
            runner.notes += _notes(hellos.values())

            def tell(done: int, total: int) -> None:
                on_progress(Progress(0, done, total, None))

            if not everything:
                runner.find_same(cases, tell)
            if runner.same.needs_guard or len(runner.same.cases) < len(cases):
                on_cases(pairs, len(cases) - len(runner.same.cases))
                runner.observe(groups if runner.same.needs_guard else _changed(runner, groups), tell, before)
            imported = {side.name: runner.imported(side.name) for side in (base, head)}
            if not all(runner.failed(case) for case in cases):
                refuse_equal(base, head, imported)
            yield runner, folder


def changed_groups(runner: PairedRunner, groups: Sequence[Group]) -> list[Group]:
    """The groups without the cases that run the same code, after one pair of these as a guard, if they need it.

    A case that looks changed there, and in another pair of such cases, is kept, and so is one whose counts differ.
    """
    if runner.same.needs_guard and runner.same.cases:
        suspects = with_cases(groups, lambda case: not runner.failed(case))
        for _ in range(GUARD_PAIRS):
            if suspects:
                runner.replicate(suspects, 0.0)  # one of the shortest pairs
            suspects = with_cases(groups, lambda case: case.key in runner.same.cases and _looks_changed(runner, case))
        kept = {case.key for case in cases_of(suspects)}
        runner.same = replace(runner.same, cases=runner.same.cases - kept)
        for key in runner.same.cases:
            runner.log_ratios.pop(key, None)
    return _changed(runner, groups)


def _looks_changed(runner: PairedRunner, case: Case) -> bool:
    base, head = (runner.measurement(side, case) for side in ("base", "head"))
    ratios = runner.log_ratios.get(case.key, Ratios())
    differs = [abs(log) > math.log(GUARD_RATIO) for log in ratios.low]
    return (
        bool(differs and all(differs))
        or runner.failed(case)
        or any(change.is_judged for change in changes(base.metrics, head.metrics))
    )


def _changed(runner: PairedRunner, groups: Sequence[Group]) -> list[Group]:
    return with_cases(groups, lambda case: case.key not in runner.same.cases)


def _comparison(
    runner: PairedRunner,
    base: Side,
    head: Side,
    selection: Selection,
    trial: Trial,
    budget_seconds: float,
    seconds: float,
) -> Comparison:
    """The findings of a check that has ended."""
    cases, verdicts = cases_of(selection.groups), trial.verdicts()
    measured = ((runner.measurement(base.name, case), runner.measurement(head.name, case)) for case in cases)
    notes = [*newly_suspect(measured), *runner.notes]
    findings = [_finding(runner, base, head, case, verdicts.get(case.key), trial.margins[case.key]) for case in cases]
    notes += too_few_pairs(runner, selection.groups, findings, budget_seconds)
    needed = more_time(runner, selection.groups, findings, MIN_PAIRS_FOR_UNCHANGED)
    findings += one_sided(selection.only_base, "in the base") + one_sided(selection.only_head, "in the head")
    return Comparison(
        suite=head.suite.name,
        base=base.about,
        head=head.about,
        way="paired",
        findings=ordered(findings),
        notes=tuple(map(base.in_words, notes)),
        needed=needed,
        seconds=round(seconds, 1),
    )


def measure(
    runner: PairedRunner,
    groups: Sequence[Group],
    trial: Trial,
    budget_seconds: float,
    on_progress: Callable[[Progress], None],
    *,
    share: float = 1.0,
) -> None:
    """Add pairs until each observed case is decided or the budget is spent; `share`: of the error rate.

    A case is looked at after 6, 8, 11, 15, 20, ... pairs and at the end. A look after every pair would spend part of
    the error rate on almost the same data again. If the budget is not enough for all cases, those that look slowest
    after two pairs come first; the others count among the tests all the same.

    A pair in which the head is slow, and the others are not, may be the machine's or the code's doing. The tests leave
    it out as an outlier, and `unchanged` counts it: it asks for the interval of the typical call without trimming, too.
    (Not of the mean, which stalls of the machine spoil too often.)
    """
    looks, seen = Counter[str](), Counter[str]()  # of each case: the looks so far, and its pairs at the last of them

    def tell(done: int) -> None:
        left = budget_seconds - runner.seconds
        on_progress(Progress(runner.replicates + 1, done, len(timed), max(0.0, left) if runner.replicates else None))

    def look(cases: Sequence[Case]) -> None:
        # Decided cases are included: they still show how noisy cases are.
        lows = {case: ratios.low for case, ratios in runner.log_ratios.items()}
        low, whole_low = located(lows, MIN_PAIRS_TO_TRIM), located(lows, min_to_trim=runner.replicates + 1)
        mean = located({case: ratios.mean for case, ratios in runner.log_ratios.items()}, MIN_PAIRS_TO_TRIM)
        for case in cases:
            looks[case.key], seen[case.key] = looks[case.key] + 1, pairs_of(runner, case)
            trial.look(
                case.key,
                low[case.key],
                mean[case.key],
                share * share_of_look(looks[case.key]),
                confidence=1 - (1 - LOOK_CONFIDENCE) * share,
                whole_low=whole_low[case.key],
                may_be_unchanged=seen[case.key] >= MIN_PAIRS_FOR_UNCHANGED,
            )

    groups = with_cases(groups, lambda case: not runner.failed(case))
    trial.evidence |= {case.key: Evidence() for case in cases_of(groups)}
    while timed := worth_a_pair(runner, groups, budget_seconds - runner.seconds):
        runner.replicate(timed, budget_seconds - runner.seconds, tell)
        groups = with_cases(groups, lambda case: not runner.failed(case))
        due = {case.key: math.ceil(LOOK_GROWTH * seen[case.key]) or MIN_PAIRS for case in cases_of(groups)}
        look([case for case in cases_of(groups) if pairs_of(runner, case) >= due[case.key]])
        groups = _undecided(groups, trial)
    look([case for case in cases_of(groups) if pairs_of(runner, case) >= max(MIN_PAIRS, seen[case.key] + 1)])


def worth_a_pair(runner: PairedRunner, groups: Sequence[Group], left: float) -> Sequence[Group]:
    """Return the groups to time in another pair; empty if none of their cases can be decided in the seconds left.

    These are all cases, or those that look slowest, if there is no time for the fewest pairs of all. Cases that have
    more pairs come first, so that no pair is wasted.
    """
    if not runner.replicates:
        return groups

    def order(case: Case) -> tuple[int, float]:
        ratios = runner.log_ratios.get(case.key, Ratios([0.0], [0.0]))
        return min(len(ratios.low), MIN_PAIRS), max(median(ratios.low), median(ratios.mean))

    cases = sorted(cases_of(groups), key=order, reverse=True)
    if cases and runner.replicates < PAIRS_TO_CHOOSE:
        slowest = with_cases(groups, lambda case: case == cases[0])
        later = (MIN_PAIRS - PAIRS_TO_CHOOSE) * runner.expected_seconds(slowest)
        if runner.expected_seconds(groups) + later <= left:
            return groups
    for number in range(len(cases), 0, -1):
        kept = with_cases(groups, set(cases[:number]).__contains__)
        pairs = max(1, MIN_PAIRS - min(pairs_of(runner, case) for case in cases[:number]))
        if pairs * runner.expected_seconds(kept) <= left:
            return kept
    return []


def pairs_of(runner: PairedRunner, case: Case) -> int:
    """Return the number of pairs that have timed a case."""
    return len(runner.log_ratios[case.key].low) if case.key in runner.log_ratios else 0


def _undecided(groups: Sequence[Group], trial: Trial) -> list[Group]:
    decided = trial.decided()
    return with_cases(groups, lambda case: case.key not in decided)


def _finding(runner: PairedRunner, base: Side, head: Side, case: Case, judged: Judged | None, margin: float) -> Finding:
    if case.key in runner.same.cases:
        return Finding(case, "unchanged", margin, SAME_CODE, is_by_code=True)
    replicates = pairs_of(runner, case)
    before, after = (runner.measurement(side.name, case) for side in (base, head))
    if before.failure == "loading":
        before = replace(before, reason=before.reason + base.about_submodules)
    return finding(
        before,
        after,
        judged if replicates else None,
        margin,
        replicates,
        runner.given_up(case) or "no time was left to measure it",
    )


def _notes(hellos: Iterable[Mapping[str, Any]]) -> list[str]:
    """Notes for the reader about the whole check."""
    notes = library_notes()
    if not all(hello.get("fixed_addresses") for hello in hellos):
        notes.append("less precise: memory addresses are random on this system, so the two sides have different ones")
    return notes


@contextmanager
def _faults_in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"no verdict; what was measured is in {folder}") from None
    except OSError as fault:
        raise UserError(f"{folder}: can't be written: {fault.strerror}; no verdict") from None


def _info(side: Side, measured_by: Settings, hello: dict[str, Any], command: str) -> RunInfo:
    """The description of a side's run."""
    checked_out = {CHECKED_OUT: side.checked_out} if side.checked_out else {}
    return RunInfo.begin(
        suite=side.suite.name,
        description=side.suite.content.description,
        resolved=side.suite.content.model_dump(mode="json") | {"measure": measured_by.model_dump(mode="json")},
        command=command,
        environment=environment.describe(side.root) | {"worker": hello} | checked_out,
        notes=[f"{side.name} of a check: {side.about}"],
    )


@contextmanager
def _run(folder: Path, info: RunInfo, pairs: WorkerPairs) -> Iterator[RunFolder]:
    """Open a side's run folder; at the end, its `run.json` records how the check ended."""
    run = RunFolder(folder)
    run.write_info(info)
    try:
        yield run
        info = replace(info, status="finished")
    except BaseException:
        info = replace(info, status="interrupted")
        raise
    finally:
        run.write_info(replace(info, seconds=round(pairs.seconds, 1), replicates=pairs.replicates))
        run.close()

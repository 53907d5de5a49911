"""A live check from start to end: two sides take turns until every case is decided or the budget is spent."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnnbench.analysis.comparison import Comparison, Finding, InstructionChange, MemoryMargin, ordered
from rnnbench.analysis.decide import Evidence, Gate, finding_of
from rnnbench.analysis.verdict import Judged, Trial
from rnnbench.check.adoption import mended_file
from rnnbench.check.counting import MIN_COUNTING_SECONDS, Counting, InstructionsMode, chosen_counter, notes_of_uncounted
from rnnbench.check.families import families
from rnnbench.check.looks import measure, more_time, pairs_of, without
from rnnbench.check.own_code import refuse_equal
from rnnbench.check.paired import PairedRunner
from rnnbench.check.same_code import SameCode, changed_files
from rnnbench.check.sides import NewSuite, Side, SteadyFiles, strictest
from rnnbench.harness.accepted import NOTHING_ACCEPTED, AcceptedChange
from rnnbench.harness.coordinator import environment
from rnnbench.harness.coordinator.session import faults_in_words, first_info, recorded
from rnnbench.harness.machine.variables import library_notes
from rnnbench.harness.turns.schedule import Progress
from rnnbench.store.folder import RunFolder, dated_folder
from rnnbench.store.records import NOT_TIMED_ALONE, Case, Group
from rnnbench.store.run_info import OF_SIDE, Note, RunInfo, RunStatus
from rnnbench.suite.file import Settings
from rnnbench.suite.outline import cases_of, is_compared, with_cases

GUARD_PAIRS = 2  # of which the second is for the cases that look changed in the first
GUARD_RATIO = 1.25  # a case beyond it in all of its pairs is timed, whatever its code tells
GATE_OF_INSTRUCTIONS: frozenset[Gate] = frozenset({"instructions"})


@dataclass(frozen=True)
class CheckOptions:
    """What a check does beside timing the cases that may run changed code."""

    instructions: InstructionsMode | None = None  # None: they are not
    everything: bool = False  # cases that run the same code on both sides are timed, too
    gates: frozenset[Gate] = frozenset()  # what must not grow
    share: float = 1.0  # of the error rate, for one of several checks
    command: str = ""  # as it was typed, which both sides record
    accepted: AcceptedChange = NOTHING_ACCEPTED  # what the team accepts of this change


USUAL_OPTIONS = CheckOptions()


def check(
    base: Side,
    head: Side,
    groups: Sequence[Group],
    others: Sequence[Finding] = (),
    *,
    out: Path,
    on_progress: Callable[[Progress], None],
    options: CheckOptions = USUAL_OPTIONS,
) -> tuple[Path, Comparison]:
    """Measure groups of cases on both sides into a new folder below `out`, and judge them.

    `others`: findings of cases that only one side has. Raises UserError if `out` can't be written, a side can't start,
    its rnnbench is too old, a file that workers use changes meanwhile, or instructions are a gate and nothing counts
    them here; NewSuite if the base has nothing of what the suite measures. Raises Interrupted on Ctrl-C or SIGTERM:
    what was measured stays, without a verdict.
    """
    cases = cases_of(groups)
    strict = strictest(base.suite, head.suite, cases)
    suite = strict.suite
    counter, notes_of_counts = chosen_counter(options.instructions)
    head = replace(head, suite=suite)
    runner = PairedRunner((base, head), cases, suite.measure)
    trial = Trial(strict.margins)
    counted = dict[str, InstructionChange | str]()
    files = SteadyFiles((base, head))
    with ExitStack() as stack:
        folder = _begun(stack, runner, out, options.command)
        timed = _prepared(runner, groups, suite.check.budget_seconds, on_progress, everything=options.everything)
        preparing = runner.seconds
        if timed:
            trial.families = families(runner.definitions, cases_of(timed), strict.margins)
            measure(runner, timed, trial, suite.check.budget_seconds, on_progress, share=options.share)
        notes = [*runner.notes, *runner.clock_notes(), *strict.notes]
        notes += _notes_of_sides({side: [*recorder.notes] for side, recorder in runner.recorders.items()})
        seconds = runner.seconds
        if counter and timed:
            counted = Counting(runner, counter, max(MIN_COUNTING_SECONDS, seconds), on_progress).run(timed)
        runner.refuse_changed(files)
    gates = options.gates
    if options.instructions == "gate":
        gates = gates.union(GATE_OF_INSTRUCTIONS)
    evidence = _evidence(runner, groups, trial.verdicts(), strict.margins, counted, replace(options, gates=gates))
    findings = list(map(finding_of, evidence))
    _refuse_new(base, findings)
    every = ordered([*findings, *others])
    comparison = Comparison(
        suite.name,
        base.about,
        head.about,
        "paired",
        every,
        (*map(base.in_words, notes), *notes_of_counts, *notes_of_uncounted(counted), *options.accepted.notes(every)),
        seconds=round(seconds, 1),
        preparing=round(preparing, 1),
        needed=more_time(runner, groups, findings),
    )
    return folder, comparison


def _begun(stack: ExitStack, runner: PairedRunner, out: Path, command: str) -> Path:
    """Start the first pair, and make the folder of the check with those of its sides, which end with the `stack`."""
    stack.callback(runner.end)
    hellos = runner.start()
    base = runner.sides["base"]
    head = runner.sides["head"]
    folder = dated_folder(out, f"{head.suite.name}-check")
    stack.enter_context(faults_in_words(folder, "no verdict"))
    measured_by = head.suite.measure
    runs = {
        side.name: stack.enter_context(_run(folder, side, measured_by, hellos[side.name], command, runner))
        for side in (base, head)
    }
    runner.record(runs)
    runner.notes += library_notes()
    if not all(hello.get("fixed_addresses") for hello in hellos.values()):
        runner.notes.append(
            "less precise: memory addresses are random on this system, so the two sides have different ones"
        )
    return folder


def _prepared(
    runner: PairedRunner,
    groups: Sequence[Group],
    budget_seconds: float,
    on_progress: Callable[[Progress], None],
    *,
    everything: bool,
) -> list[Group]:
    """Find the cases that run the same code, observe the others on both sides, and return those that are timed."""
    cases = cases_of(groups)

    def seconds_left() -> float:
        return budget_seconds - runner.seconds

    def tell(done: int, total: int) -> None:
        on_progress(Progress(0, done, total, max(0.0, seconds_left())))

    if not everything or runner.sides["base"].lent:
        runner.find_same(cases, tell)
    if everything:
        runner.same = SameCode()
    groups = without(groups, runner.only_lent)
    if changed := without(groups, runner.same.cases):
        runner.observe(changed, tell, seconds_left)
    if not all(runner.failed(case) for case in cases):
        imported = {name: files.imported for name, files in runner.files().items()}
        refuse_equal(runner.sides["base"], runner.sides["head"], imported)
    return without(changed_groups(runner, groups, seconds_left), runner.apart())


def _notes_of_sides(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the notes of each side, with whose they are; those of both sides once."""
    sides: dict[str, list[str]] = {}
    for side, lines in notes.items():
        for line in lines:
            sides.setdefault(line, []).append(side)
    return [f"{' and '.join(whose)}: {line}" for line, whose in sides.items()]


def _evidence(
    runner: PairedRunner,
    groups: Sequence[Group],
    judged: Mapping[str, Judged],
    margins: Mapping[str, float],
    counted: Mapping[str, InstructionChange | str],
    options: CheckOptions,
) -> list[Evidence]:
    """Return all that a check knows of each case: its code, its status on both sides, its time and its counts.

    Also why it was timed although its code may be the same, and what the team accepts of it.

    `judged`: what the tests of all cases say of their times; `counted`: the instructions, or why there are none.
    """
    alone = {case.key for group in groups if not is_compared(group, runner.failed) for case in group.cases}
    mended = _mended_files(runner)
    apart = runner.apart()
    base = runner.sides["base"]
    gates = options.gates
    settings = runner.sides["head"].suite.check
    memory = MemoryMargin(settings.memory_margin, settings.memory_margin_bytes)
    is_uncounted = "instructions" in gates and not any(isinstance(each, InstructionChange) for each in counted.values())
    of_cases = []
    for case in cases_of(groups):
        pairs = pairs_of(runner, case)
        set_aside = runner.set_aside.get(case.key, [])
        evidence = Evidence(
            case=case,
            margin=margins[case.key],
            memory=memory,
            only_in="head" if case.key in runner.only_lent else "",
            apart=apart.get(case.key, ""),
            is_same_code=case.key in runner.same.cases,
            base=runner.recorders["base"].measurements[case.key],
            head=runner.recorders["head"].measurements[case.key],
            mended_file=mended.get(case.key, ""),
            is_new=bool(base.lent) and runner.recorders["base"].faults.get(case.key, {}).get("is_lack", False),
            judged=judged.get(case.key) if pairs else None,
            replicates=pairs,
            unlike_clocks=set_aside[-1].unlike_clocks if len(set_aside) > pairs else "",
            is_uncounted=is_uncounted and case.key in counted,
            gates=gates,
            acceptances=options.accepted.entries_for(case),
        )
        if evidence.judged is None:
            why = NOT_TIMED_ALONE if case.key in alone else "no time was left to measure it"
            evidence = replace(evidence, open_because=why)
        if isinstance(instructions := counted.get(case.key), InstructionChange):
            evidence = replace(evidence, instructions=instructions)
        of_cases.append(_with_cause(runner, evidence))
    return of_cases


def _with_cause(runner: PairedRunner, evidence: Evidence) -> Evidence:
    """Return the evidence with why a case was timed although its code may be the same."""
    key = evidence.case.key
    doubt = runner.same.doubts.get(key)
    if evidence.is_same_code or doubt is None:
        return evidence
    definitions = tuple(sorted(runner.definitions.get(key, ())))
    return replace(evidence, cause=doubt.clause, is_kept=doubt.kind == "guard", definitions=definitions)


def _mended_files(runner: PairedRunner) -> dict[str, str]:
    """Return the file of the head, changed or new, because of which the base can't load a case that the head loads."""
    base = runner.sides["base"]
    head = runner.sides["head"]
    faults = {key: reply for key, reply in runner.recorders["base"].faults.items() if reply.get("arose_in")}
    if base.tree is None or not faults:
        return {}
    changed = [*(changed_files(base, head) or ()), *base.lent]
    of_head = runner.recorders["head"].faults
    return {key: mended_file(fault, changed, base.tree) for key, fault in faults.items() if not of_head.get(key)}


def _refuse_new(base: Side, findings: Sequence[Finding]) -> None:
    """Raise NewSuite if the base was lent the suite and has nothing of what it measures."""
    if base.lent and findings and all(each.rule in ("new", "one side") for each in findings):
        raise NewSuite(f"base {base.about}: the suite is new, so there is nothing to compare: {findings[0].reason}")


def changed_groups(
    runner: PairedRunner, groups: Sequence[Group], seconds_left: Callable[[], float] = lambda: math.inf
) -> list[Group]:
    """Return the groups without the cases that run the same code, after one pair of these as a guard, if they need it.

    A case is kept that fails or looks changed there, and in another pair of such cases if there are `seconds_left`. If
    only its mean looks changed, a third pair is asked, too. So is any case kept if a pair has used a changed file that
    was not used before.
    """
    if runner.same.needs_guard:
        before = runner.same.cases
        suspects = with_cases(groups, lambda case: case.key in before)
        for number in range(GUARD_PAIRS):
            if number == 0 or seconds_left() > 0:
                _guard(runner, suspects)
            suspects = with_cases(suspects, lambda case: _looks_changed(runner, case))
        if seconds_left() > 0:
            _guard(runner, with_cases(suspects, lambda case: not _is_low_changed(runner, case)))
            suspects = with_cases(suspects, lambda case: _looks_changed(runner, case))
        runner.same = runner.same.but(case.key for case in cases_of(suspects))
        for key in runner.same.cases:
            runner.ratios.pop(key, None)
        if doubtful := with_cases(groups, lambda case: case.key in before - runner.same.cases):
            runner.observe(doubtful, seconds_left=seconds_left)
    return without(groups, runner.same.cases)


def _guard(runner: PairedRunner, suspects: Sequence[Group]) -> None:
    """Time these groups in one of the shortest pairs, if there are any."""
    if suspects:
        runner.replicate(suspects, 0.0, is_observed=False)
        runner.look_again()


def _looks_changed(runner: PairedRunner, case: Case) -> bool:
    """Return True if a case failed, or if its typical calls or the mean of all calls differ in each of its pairs."""
    means = [ratio.mean for ratio in runner.ratios.get(case.key, ())]
    return _is_low_changed(runner, case) or _are_beyond(means)


def _is_low_changed(runner: PairedRunner, case: Case) -> bool:
    lows = [ratio.low for ratio in runner.ratios.get(case.key, ())]
    return runner.failed(case) or _are_beyond(lows)


def _are_beyond(logs: Sequence[float]) -> bool:
    return bool(logs) and all(abs(log) > math.log(GUARD_RATIO) for log in logs)


@contextmanager
def _run(
    folder: Path, side: Side, measured_by: Settings, hello: Mapping[str, Any], command: str, runner: PairedRunner
) -> Iterator[RunFolder]:
    """Make a side's run folder; at the end, its `run.json` records how the check ended."""
    about = environment.describe(side.root) | {"worker": hello}
    info = first_info(side.suite, measured_by, command, about, [Note(side.about, OF_SIDE[side.name])])
    if side.tree is not None:
        info = replace(info, suite_file=os.path.relpath(side.suite.file.resolve(), side.tree))
    (folder / side.name).mkdir()

    def at_end(status: RunStatus) -> RunInfo:
        return replace(info, status=status, seconds=round(runner.seconds, 1), replicates=runner.replicates)

    with closing(RunFolder(folder / side.name)) as run, recorded(run, info, at_end):
        yield run

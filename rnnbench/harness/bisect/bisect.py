"""A bisection from start to end."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rnnbench.analysis.bisection import Bisection, Commit
from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.bisect.commits import (
    FILE,
    BudgetSpent,
    CommitRunner,
    Journal,
    commits_between,
    without_documents,
)
from rnnbench.harness.bisect.search import Search, cases_to_search
from rnnbench.harness.check.selection import NOT_OF_THE_CODE
from rnnbench.harness.check.sides import required_place, required_repository
from rnnbench.harness.machine import git
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.folder import dated_folder
from rnnbench.store.records import Group
from rnnbench.suite.suites import MAX_CASES, Suite, cases_of, with_cases
from rnnbench.text import plural

NOTHING_CONFIRMED = "counts grew at these commits, but their time does not show it within the budget"


def bisect(
    suite: Suite,
    good: str,
    bad: str,
    only: Mapping[str, Sequence[str]],
    device: str | None,
    *,
    out: Path,
    resume: Path | None,
    budget_seconds: float,
    any_number: bool,
    command: str,
    sources: Sequence[str] = (),
    on_step: Callable[[str, float], None] = lambda words, left: None,
    on_progress: Callable[[Progress], None] = lambda step: None,
    now: Callable[[], float] = time.monotonic,
) -> tuple[Path, Bisection]:
    """Find the commits between two revisions that made cases of a suite slower; returns the folder and the answer.

    The suite's file as it is now is used for every commit. `sources`: folders of the repository that modules are
    imported from, beside the project's. `resume`: the folder of an interrupted bisection, which goes
    on. Raises UserError if a revision is unknown, `good` is not an ancestor of `bad` or is not faster, or a folder
    can't be written; Interrupted on Ctrl-C or SIGTERM.
    """
    repository = required_repository(suite)
    within = required_place(suite, repository)
    first, last = (git.commit(repository, revision, name) for revision, name in ((good, "good"), (bad, "bad")))
    every = commits_between(repository, first, last)
    path = without_documents(repository, every, within)
    groups = _of_the_code(suite.groups(only, device, most=None if any_number else MAX_CASES))
    cases = {case.key: case for case in cases_of(groups)}
    question = {"suite": suite.name, "good": first, "bad": last, "cases": list(cases)}
    folder = resume or dated_folder(out, f"{suite.name}-bisect")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give that of an interrupted bisection")
    if resume is not None and not (resume / FILE).exists():  # a run, say: nothing may be added to it
        raise UserError(f"{folder}: it holds no bisection; give the folder of an interrupted one")
    journal = Journal(folder, question)
    runner = CommitRunner(
        suite,
        groups,
        folder,
        journal,
        command=command,
        sources=sources,
        budget_seconds=budget_seconds,
        now=now,
        on_step=on_step,
        on_progress=on_progress,
    )
    answer = Bisection(suite.name, path[0], path[-1], len(every) - 1, {}, tuple(cases.values()))
    if left_out := len(every) - len(path):
        answer = answer.with_notes(f"{plural(left_out, 'commit')} changed only documentation: not measured")
    if (state := git.state(repository)) and state["dirty"]:
        answer = answer.with_notes("uncommitted changes are not measured, except those of the suite's file")
    if not git.has_file(repository, first, within):
        answer = answer.with_notes(f"{first[:7]} has no {within}; the current file is used for every commit")
    try:
        return folder, _answered(answer, runner, suite, repository, path, groups, budget_seconds)
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"no answer; what was measured is in {folder}") from None
    except OSError as fault:
        raise UserError(f"{folder}: can't be written: {fault.strerror}; what was measured stays there") from None
    finally:
        journal.close()


def _answered(
    answer: Bisection,
    runner: CommitRunner,
    suite: Suite,
    repository: Path,
    path: Sequence[Commit],
    groups: Sequence[Group],
    budget_seconds: float,
) -> Bisection:
    cases = {case.key: case for case in cases_of(groups)}
    settings = suite.content.check
    try:
        total = runner.compare(path[0], path[-1], list(cases), settings.margin, seconds=settings.budget_seconds)
        answer = replace(answer, total=total)
    except BudgetSpent:
        raise UserError("the budget was spent before good and bad were compared; give a larger one") from None
    keys = cases_to_search(answer.total, cases)
    if not keys:
        raise UserError(_not_slower(answer))
    if not any(answer.total[key].verdict == "regressed" for key in keys):
        answer = answer.with_notes("the time of good and bad does not decide; the search follows their counts")
    search = Search(
        runner,
        repository,
        path,
        answer.total,
        keys,
        {key: case.cell for key, case in cases.items()},
        settings.margin,
    )
    try:
        search.run()
    except BudgetSpent:
        answer = replace(answer, is_finished=False)
        answer = answer.with_notes(f"the budget of {budget_seconds:g} s was spent before the search ended")
    if search.causes and not any(cause.is_confirmed for cause in search.causes):
        answer = answer.with_notes(NOTHING_CONFIRMED)
    index_of = {commit.sha: index for index, commit in enumerate(path)}
    causes = sorted(search.causes, key=lambda cause: index_of.get((cause.merged_by or cause.commit).sha, 0))
    return replace(
        answer,
        causes=tuple(causes),
        skipped=dict(runner.skipped),
        unexplained=tuple(search.unexplained),
        suspects=tuple(search.suspects),
        seconds=round(runner.seconds, 1),
    )


def _not_slower(answer: Bisection) -> str:
    """Why there is nothing to search for."""
    verdicts = [change.verdict for change in answer.total.values()]
    undecided, failed = verdicts.count("undecided"), verdicts.count(None)
    text = f"bad {answer.bad.short} is not slower than good {answer.good.short}: 0 of {plural(len(verdicts), 'case')}"
    text += f" regressed, {verdicts.count('unchanged')} unchanged"
    if undecided:
        text += f", {undecided} not decided (a larger budget in the suite's [check], or fewer cases, may decide them)"
    if failed:
        reason = next((change.reason for change in answer.total.values() if change.reason), "")
        text += f", {failed} not compared{f': {reason}' if reason else ''}"
    return text


def _of_the_code(groups: Sequence[Group]) -> list[Group]:
    """The groups without the cases that a commit can't change; raises UserError if none is left."""
    kept = with_cases(groups, lambda case: case.implementation not in NOT_OF_THE_CODE)
    if not kept:
        raise UserError("only torch.nn's own cases are selected, which no commit changes; select cells")
    return kept

"""How often `rnnbench bisect` names the right commits, by simulation: the real search and tests on simulated pairs.

A history has 64 commits and two cases. Up to two commits make both cases slower, by 3% to 10%; one commit in ten does
not run. In half of the kinds counts see each change, in the others only the time does. Noise is that of
`verdicts_simulated`.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.bisection import CaseChange, Commit
from rnnbench.analysis.verdict import Trial
from rnnbench.check.bisect import COMPARISON_SECONDS, Search, cases_to_search
from rnnbench.check.commits import BudgetSpent, Counts
from rnnbench.check.looks import measure
from rnnbench.store.records import Case, Group
from tests.doubles import workload as small
from tests.validation.noise import CASES, NOISES, Noise
from tests.validation.verdicts_simulated import PROCESSES, SimulatedRunner

COMMITS = 64
BROKEN_SHARE = 0.1
SIZES = (0.03, 0.10)
MARGIN = 0.01  # of the suite
BUDGET_SECONDS = 900.0
WORKTREE_SECONDS = 1.0
COUNT_SECONDS = 3.0
KINDS = {"none": 0, "one": 1, "two": 2}  # slow commits
SHOWN_NOISES = ("usual", "heavy tails", "pairs of unlike noise", "half shared by a pair")
OPERATORS = 200  # of a call of the first commit


class SimulatedCommitRunner:
    """Answers for a history whose truth is known; counts the seconds that a real one would take."""

    def __init__(
        self,
        rng: np.random.Generator,
        levels: np.ndarray,
        operators: Sequence[int],
        runs: Sequence[bool],
        cases: Sequence[Case],
        noise: Noise,
    ) -> None:
        """`levels`: the logarithm of each commit's time over the first one's; `operators`: of a call of each commit."""
        self._rng, self._levels, self._operators, self._runs = rng, levels, operators, runs
        self._cases, self._noise = {case.key: case for case in cases}, noise
        self.repository, self.seconds, self.budget_seconds = Path(), 0.0, BUDGET_SECONDS
        self.skipped: dict[str, str] = {}
        self._counted: set[str] = set()

    def counts(self, commit: Commit, keys: Sequence[str]) -> Counts | None:
        """As `CommitRunner.counts`."""
        if commit.sha not in self._counted:
            self._spend(COUNT_SECONDS)
            self._counted.add(commit.sha)
        place = int(commit.sha)
        if not self._runs[place]:
            self.skipped[commit.short] = "it does not run"
        return {key: {"operators": self._operators[place]} for key in keys} if self._runs[place] else None

    def compare(
        self,
        base: Commit,
        head: Commit,
        keys: Sequence[str],
        margin: float,
        share: float = 1.0,
        most: float = COMPARISON_SECONDS,
    ) -> dict[str, CaseChange]:
        """As `CommitRunner.compare`."""
        groups = [Group(self._cases[key].workload, (self._cases[key],)) for key in keys]
        runner, trial = self._runner(base, head, groups), Trial(dict.fromkeys(keys, margin))
        budget = min(most, BUDGET_SECONDS - self.seconds)
        measure(runner, groups, trial, budget, lambda step: None, share=share)
        self._spend(runner.seconds)
        return {
            key: CaseChange(judged.verdict, judged.deciding if judged.deciding.has_interval else None)
            for key, judged in trial.verdicts().items()
        }

    def _runner(self, base: Commit, head: Commit, groups: Sequence[Group]) -> Any:
        low = np.zeros(CASES)
        low[: len(groups)] = self._levels[int(head.sha)] - self._levels[int(base.sha)]
        runner = SimulatedRunner(self._rng, low, low, groups, self._noise)
        runner.seconds = 2 * WORKTREE_SECONDS + COUNT_SECONDS
        return runner

    def _spend(self, seconds: float) -> None:
        if self.seconds >= BUDGET_SECONDS:
            raise BudgetSpent
        self.seconds += seconds


def error_rates(histories: int) -> pd.DataFrame:
    """One row for each kind of history and noise."""
    kinds = [
        (noise, kind, seen) for noise in SHOWN_NOISES for kind in KINDS for seen in (True, False) if KINDS[kind] or seen
    ]
    with ProcessPoolExecutor(PROCESSES) as pool:
        return pd.DataFrame(list(pool.map(partial(_row, histories), *zip(*kinds, strict=True))))


def _row(histories: int, noise: str, kind: str, seen: bool) -> dict[str, Any]:
    rng = np.random.default_rng([*noise.encode(), *kind.encode(), seen])
    answers = [_history(rng, KINDS[kind], NOISES[noise], seen=seen) for _ in range(histories)]
    named = [answer for answer in answers if answer["slow"]]
    return {
        "noise": noise,
        "slow commits": kind,
        "counts see them": "yes" if seen else "no",
        "histories": histories,
        "all named": np.mean([answer["found"] == answer["slow"] for answer in named]) if named else None,
        "some named": np.mean([bool(answer["found"] & answer["slow"]) for answer in named]) if named else None,
        "a wrong one named": np.mean([bool(answer["found"] - answer["slow"]) for answer in answers]),
        "median seconds": float(np.median([answer["seconds"] for answer in answers])),
    }


def _history(rng: np.random.Generator, slow: int, noise: Noise, *, seen: bool) -> dict[str, Any]:
    """One history: the places of the slow commits and of those that were named and confirmed."""
    runs = rng.random(COMMITS + 1) >= BROKEN_SHARE
    runs[[0, COMMITS]] = True
    runnable = [place for place in range(1, COMMITS) if runs[place] and runs[place - 1]]
    places = rng.choice(runnable, slow, replace=False)
    levels, operators = np.zeros(COMMITS + 1), np.full(COMMITS + 1, OPERATORS)
    for place in places:
        levels[place:] += np.log1p(rng.uniform(*SIZES))
        operators[place:] += 16 if seen else 0
    cases = [small.case("vanilla", batch_size=number + 1) for number in range(2)]
    path = [Commit(str(place)) for place in range(COMMITS + 1)]
    runner: Any = SimulatedCommitRunner(rng, levels, operators.tolist(), runs.tolist(), cases, noise)
    keys = [case.key for case in cases]
    total = runner.compare(path[0], path[-1], keys, MARGIN)
    chosen = cases_to_search(total, {case.key: case for case in cases})
    places_found: set[int] = set()
    if chosen:
        search = Search(runner, path, total, dict.fromkeys(chosen, "vanilla"), MARGIN)
        with suppress(BudgetSpent):
            search.run()
        places_found = {int(cause.commit.sha) for cause in search.causes if cause.is_confirmed}
    return {"slow": {int(place) for place in places}, "found": places_found, "seconds": runner.seconds}

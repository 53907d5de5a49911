"""A history of commits whose truth is known, for the search of `rnnbench bisect`: its pairs are simulated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnbench.analysis.bisection import CaseChange, Commit
from rnnbench.analysis.verdict import Trial
from rnnbench.check.bisect import COMPARISON_SECONDS
from rnnbench.check.commits import BudgetSpent, Counts
from rnnbench.check.looks import measure
from rnnbench.store.records import Case, Group
from tests.validation.noise import CASES, Noise
from tests.validation.verdicts_simulated import SimulatedRunner

MARGIN = 0.01  # of the suite
BUDGET_SECONDS = 900.0
WORKTREE_SECONDS = 1.0
COUNT_SECONDS = 3.0


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

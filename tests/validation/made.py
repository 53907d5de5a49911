"""How a table of the validation was made: its commit, and for real times the processor and how quiet the core was."""

import math
import subprocess
import sys
from dataclasses import dataclass

import pandas as pd

from rnnbench.harness.machine.cores import processor
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.machine.quiet_core import KeptPulse
from rnnbench.report.words.names import identity
from rnnbench.store.user_cache import private_folder

COMMIT, PROCESSOR, QUIET = "commit", "processor", "quiet pulses"  # columns of a table
PULSES = 2000  # before and after a table


@dataclass(frozen=True)
class Made:
    """How the rows of one table were made."""

    commit: str
    processor: str = ""  # of real times; empty for a simulation
    quiet_pulses: float = math.nan  # share of the pulses before and after it

    def columns(self) -> dict[str, str | float]:
        """Return the columns that say it in each row."""
        if not self.processor:
            return {COMMIT: self.commit}
        return {PROCESSOR: self.processor, COMMIT: self.commit, QUIET: round(self.quiet_pulses, 3)}


def commit() -> str:
    """Return the commit that was tried, with `-dirty` where the code differs from it; the tables are no code."""
    name = _git("rev-parse", "--short", "HEAD")
    return f"{name}-dirty" if _git("status", "--porcelain", "--", "rnnbench", "tests", "suites") else name


def this_processor() -> str:
    """Return the identity of this machine's processor, as tables name it."""
    return identity(processor()).split(";")[0]


def quiet_share() -> float:
    """Return the share of some pulses that are quiet now, compared with the best one that the user's cache keeps.

    The state of a core lasts for seconds: of a long time many such shares tell.
    """
    store = KeptPulse(private_folder(), sys.version.split()[0])
    best = store.best_seconds()
    pulses = Pulses(math.inf if best is None else best)
    taken = [pulses.take() for _ in range(PULSES)]
    store.keep(pulses.best)
    return sum(map(pulses.is_quiet, taken)) / PULSES


def said_of(table: pd.DataFrame) -> str:
    """Return in words how the rows of a table were made: `commit 1234abc; AMD EPYC, 91% of pulses quiet`.

    Empty for a table of before such columns were kept.
    """
    if COMMIT not in table.columns:
        return ""
    commits = [str(each) for each in table[COMMIT].dropna().unique() if str(each)]
    parts = [f"commit {', '.join(commits)}"] if commits else []
    if QUIET in table.columns:
        machines = table.dropna(subset=[PROCESSOR]).groupby(PROCESSOR, sort=False)[QUIET].mean()
        parts += [f"{name}, {share:.0%} of pulses quiet" for name, share in machines.items()]
    return "; ".join(parts)


def without(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the columns that say how it was made."""
    return table.drop(columns=[COMMIT, PROCESSOR, QUIET], errors="ignore")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()

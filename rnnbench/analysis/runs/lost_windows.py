"""Windows that a run must have made and that are not in its folder any more: files that were removed, or not copied."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from rnnbench.errors import UserError
from rnnbench.store.folder import parts
from rnnbench.store.run_info import RunInfo
from rnnbench.store.windows import window_files, worker_of
from rnnbench.text import listed, plural

LOST = "windows are missing: "  # how the notes begin
MAX_NAMED = 5  # files that are named


def notes(path: Path, info: RunInfo, cases: pd.DataFrame, visits: pd.DataFrame) -> list[str]:
    """Notes on the windows that are missing; empty if none are, as far as `run.json` shows that.

    `visits`: all of the run, those that were cut off too. Raises UserError if all are missing.
    """
    is_measured = cases["status"].eq("measured").to_numpy()
    if not info.replicates or not is_measured.any():
        return []
    count = int(is_measured.sum())
    if visits.empty:
        raise UserError(
            f"{path}: {plural(count, 'case')} {'is' if count == 1 else 'are'} marked as measured, but all windows are "
            "missing: windows-*.jsonl; restore these files, or measure again"
        )
    missing = info.replicates - visits["replicate"].nunique()
    if missing > 0:
        return [
            f"{LOST}{missing:,} of {plural(info.replicates, 'finished replicate')} {_have(missing)} "
            f"none{_lost_files(path)}; nothing here counts what they held"
        ]
    is_missing = is_measured.copy()
    is_missing[visits["number"].unique()] = False
    if info.status == "finished" and (without := int(is_missing.sum())):
        return [
            f"{LOST}{without:,} of {plural(count, 'case')} that are marked as measured {_have(without)} "
            "none, as if a file windows-*.jsonl was lost"
        ]
    return []


def noted(info: RunInfo) -> list[str]:
    """The notes on missing windows among all notes of a run."""
    return [note for note in info.notes if note.startswith(LOST)]


def noted_of_runs(runs: Iterable[tuple[str, RunInfo]]) -> list[str]:
    """The notes on missing windows of several runs, each after the name of its run."""
    return [f"{name}: {note}" for name, info in runs for note in noted(info)]


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _lost_files(path: Path) -> str:
    """The files of windows that are not there although those of later workers are, in brackets; empty if none are."""
    if parts(path):
        return ""
    there = {int(name) for name in map(worker_of, window_files(path)) if name.isdecimal()}
    lost = [f"windows-{number:04d}.jsonl" for number in range(max(there, default=0)) if number not in there]
    return f" ({listed(lost)} {'is' if len(lost) == 1 else 'are'} not there)" if 0 < len(lost) <= MAX_NAMED else ""

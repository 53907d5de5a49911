"""The results of stored runs: of `rnnbench.load` and `compare`."""

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from rnnbench import plot
from rnnbench.analysis.comparison import Comparison
from rnnbench.analysis.run_times import RunTimes, joined, noted, read_whole
from rnnbench.analysis.summary import noise, ratios, summarize
from rnnbench.errors import UserError
from rnnbench.report.cases import answer
from rnnbench.report.changes import changes
from rnnbench.report.environment import table_of_environment
from rnnbench.report.notebook.result import Frame, FrameResult
from rnnbench.report.verdicts import verdicts
from rnnbench.report.words.names import SETTINGS, SIZES, several
from rnnbench.store.frames import step_frame, window_frame, with_categories
from rnnbench.store.windows import SCHEMA, window_tables
from rnnbench.text import plural

REPLICATE_COLUMNS = ("run", "case", "replicate", "worker", "windows", "calls", "seconds", "mean_seconds", "ratio")
MEASURED = ("seconds", "ratio", "ratio_low", "ratio_high", "parity")


def load(paths: Sequence[Path]) -> FrameResult:
    """Return stored runs as frames; each is made when it is first used.

    Raises UserError if a folder is not a run, or if a line can't be read.
    """
    runs = [read_whole(path) for path in paths]
    infos, times = [info for info, _, _ in runs], joined([times for _, _, times in runs])
    names = tuple(path.resolve().name for path in paths)
    summary = summarize(times)
    cases = with_categories(summary)
    axes = ["cell", "implementation", "phase", *several(summary, (*SETTINGS, *SIZES))]
    first = [*(["run"] if len(names) > 1 else []), *axes, *MEASURED]

    def tables(columns: Collection[str]) -> Iterable[pa.Table]:
        before = 0
        for path, (info, lines, _) in zip(paths, runs, strict=True):
            row_of = {key: row for row, key in enumerate(lines, before)}
            yield from window_tables(path, info.id, row_of, columns)
            before += len(row_of)

    def environment() -> pd.DataFrame:
        tables = [table_of_environment(info).frame.assign(run=name) for name, info in zip(names, infos, strict=True)]
        return pd.concat(tables, ignore_index=True)[["run", "about", "what", "value"]].astype(str)

    def draw(name: str = "ratio", ax: Any = None, **how: Any) -> Any:
        figures = [figure for figure in plot.__all__ if figure != "changes"]
        if name not in figures:
            raise ValueError(f"no figure has the name {name!r}: expected one of {', '.join(figures)}")
        if name == "ratio" and len(paths) == 1:
            how = {"noise_floor": noise(times).floor} | how
        return getattr(plot, name)(cases, ax, **how)

    answers = []
    for name, info in zip(names, infos, strict=True):
        told = (f"{note[:1].upper()}{note[1:]}." for note in noted(info))
        answers.append(" ".join([f"{name}: {answer(summary[summary['run'] == name], info)}", *told]))
    frames: dict[str, Frame] = {
        "frame": cases[[*first, *(column for column in cases if column not in first)]],
        "cases": cases,
        "windows": lambda: window_frame(times.cases, tables(SCHEMA.names)),
        "replicates": partial(_replicates, times),
        "steps": lambda: step_frame(times.cases, tables(["quantiles"])),
        "environment": environment,
    }
    before = [plural(len(answers), "run")] if len(answers) > 1 else []
    note = "\n\n".join([*before, *answers, f"Frames: {', '.join(f'.{name}' for name in frames)}"])
    return FrameResult(frames, draw, note, first, names=names, paths=tuple(paths))


def _replicates(times: RunTimes) -> pd.DataFrame:
    """Return a row for each case and replicate that counts; `ratio` is NaN where the group has no reference."""
    rows = times.replicates
    known = ratios(times).set_index(["number", "replicate"])
    frame = rows.assign(mean_seconds=rows["seconds"] / rows["calls"], seconds=rows["median_seconds"])
    logs = known["log_ratio"].reindex(pd.MultiIndex.from_frame(rows[["number", "replicate"]]))
    frame["ratio"] = np.exp(logs.to_numpy(dtype=float))
    order = frame.sort_values(["number", "replicate"], kind="stable")
    return with_categories(order[list(REPLICATE_COLUMNS)].reset_index(drop=True))


def found(runs: "str | Path | Iterable[str | Path]") -> list[Path]:
    """Return the folders of runs: a path, a pattern such as `results/quick-*`, or several of both, each run once.

    Raises UserError if there is no run, and if two runs have one name.
    """
    paths: dict[Path, None] = {}
    for given in map(Path, [runs] if isinstance(runs, str | Path) else runs):
        pattern = str(given.relative_to(given.anchor))
        matches = [given] if given.exists() else sorted(Path(given.anchor).glob(pattern))
        folders = [match for match in matches if (match / "run.json").exists()]
        if not folders:
            raise UserError(f"{given}: no folder of a run is there; a check holds two: load its base or its head")
        paths |= dict.fromkeys(folders)
    if not paths:
        raise UserError("runs: expected at least one folder of a run, found an empty list")
    if len({path.resolve().name for path in paths}) < len({path.resolve() for path in paths}):
        raise UserError(f"{runs}: two runs of one name can't be told apart; rename one of them")
    return list(paths)


def compared_runs(comparison: Comparison) -> FrameResult:
    """Return the comparison of two stored runs: `frame` has a row for each case, the worst first."""
    found = verdicts.of(comparison)
    note = " ".join(filter(None, [found.answer, found.details]))
    columns = ("name", "verdict", "ratio", "ratio_low", "ratio_high", "decided_by")
    return FrameResult({"frame": found.frame}, partial(changes, found.frame), note, columns)

"""The results of stored runs: of `rnnbench.load` and `compare`."""

import math
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnbench import plot
from rnnbench.analysis.comparison import Comparison
from rnnbench.analysis.runs.lost_windows import noted
from rnnbench.analysis.runs.noise import noise
from rnnbench.analysis.runs.run_times import RunTimes, joined, read_whole
from rnnbench.analysis.runs.summary import fastest_ratios, reference_ratios, summarize
from rnnbench.errors import UserError
from rnnbench.report.answer import answer
from rnnbench.report.changes import changes
from rnnbench.report.environment import table_of_environment
from rnnbench.report.notebook.result import Frame, FrameResult
from rnnbench.report.verdicts import verdicts
from rnnbench.report.words.names import SETTINGS, SIZES, several
from rnnbench.store.folder import is_check
from rnnbench.store.frames import (
    STEP_COLUMNS,
    WINDOW_COLUMNS,
    step_frame,
    stored_columns,
    window_frame,
    with_categories,
)
from rnnbench.store.run_info import RunInfo
from rnnbench.store.windows import WindowPart, window_parts
from rnnbench.text import nearest, plural

PATTERN = set("*?[")
REPLICATE_COLUMNS = ("run", "case", "replicate", "worker", "windows", "calls", "seconds", "mean_seconds", "ratio")
MEASURED = ("seconds", "ratio", "ratio_low", "ratio_high", "parity")
OF_LIVE = (
    "Each ratio is that of two ratios to the reference, measured apart: what differs from session to session, such "
    "as the layout of memory, is not in the intervals. rnnbench check compares in turns."
)


def load(paths: Sequence[Path], columns: Collection[str] | None = None) -> FrameResult:
    """Return stored runs as frames; each is made when it is first used.

    `columns`: those of `windows`, which of a long run take a gigabyte. Raises UserError if a folder is not a run, if a
    line can't be read, or for an unknown column.
    """
    wanted = WINDOW_COLUMNS if columns is None else _known(columns)
    runs = [read_whole(path) for path in paths]
    infos, times = [info for info, _, _ in runs], joined([times for _, _, times in runs])
    names = tuple(path.resolve().name for path in paths)
    summary = summarize(times)
    cases = with_categories(summary)
    axes = ["cell", "implementation", "phase", *several(summary, (*SETTINGS, *SIZES))]
    first = [*(["run"] if len(names) > 1 else []), *axes, *MEASURED]

    def parts(stored: Collection[str]) -> Iterable[WindowPart]:
        before = 0
        for path, (info, lines, _) in zip(paths, runs, strict=True):
            row_of = {key: row for row, key in enumerate(lines)}
            for part in window_parts(path, info.id, row_of, stored_columns(stored)):
                yield WindowPart(part.file, part.number + before, part.table)
            before += len(row_of)

    def environment() -> pd.DataFrame:
        tables = {name: table_of_environment(info) for name, info in zip(names, infos, strict=True)}
        facts = [table.frame.assign(run=name) for name, table in tables.items()]
        return pd.concat(facts, ignore_index=True)[["run", "about", "what", "value"]].astype(str)

    def draw(name: str = "ratio", ax: Any = None, **how: Any) -> Any:
        figures = [figure for figure in plot.__all__ if figure != "changes"]
        if name not in figures:
            raise ValueError(f"no figure has the name {name!r}: expected one of {', '.join(figures)}")
        if name == "ratio" and len(paths) == 1:
            how = {"noise_floor": noise(times).floor} | how
        return getattr(plot, name)(cases, ax, **how)

    answers = [
        " ".join([f"{name}: {answer(summary[summary['run'] == name], info)}", *_lost(info)])
        for name, info in zip(names, infos, strict=True)
    ]
    frames: dict[str, Frame] = {
        "frame": cases[[*first, *(column for column in cases if column not in first)]],
        "cases": cases,
        "windows": lambda: window_frame(times.cases, parts(wanted), wanted),
        "replicates": partial(_replicates, times),
        "steps": lambda: step_frame(times.cases, parts(STEP_COLUMNS)),
        "environment": environment,
    }
    told = answers if len(answers) == 1 else [plural(len(answers), "run"), *answers]
    note = "\n\n".join([*told, f"Frames: {', '.join(f'.{name}' for name in frames)}"])
    return FrameResult(frames, draw, note, first, names=names, paths=tuple(paths))


def _replicates(times: RunTimes) -> pd.DataFrame:
    """Return a row for each case and replicate that counts; `ratio` is NaN where the group has no reference."""
    rows = times.replicates
    has_reference = times.cases["reference"].ne("none").any()
    ratios = (reference_ratios if has_reference else fastest_ratios)(rows).set_index(["number", "replicate"])
    frame = rows.assign(mean_seconds=rows["seconds"] / rows["calls"], seconds=rows["median_seconds"])
    logs = ratios["log_ratio"].reindex(pd.MultiIndex.from_frame(rows[["number", "replicate"]]))
    frame["ratio"] = np.exp(logs.to_numpy(dtype=float))
    order = frame.sort_values(["number", "replicate"], kind="stable")
    return with_categories(order[list(REPLICATE_COLUMNS)].reset_index(drop=True))


def _lost(info: RunInfo) -> list[str]:
    """Return sentences on the windows of a run that were lost."""
    return [f"{note[:1].upper()}{note[1:]}." for note in noted(info)]


def found(runs: "str | Path | Iterable[str | Path]") -> list[Path]:
    """Return the folders of runs: a path, a pattern such as `results/quick-*`, or several of both, each run once.

    Raises UserError if a pattern has no match, or if two runs have one name.
    """
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    paths = list(dict.fromkeys(path for one in given for path in _matches(str(one))))
    if not paths:
        raise UserError("runs: expected at least one folder of a run, found an empty list")
    if checks := [path for path in paths if is_check(path)]:
        raise UserError(f"{checks[0]}: it is a check, which holds two runs: load its base or its head")
    names: dict[str, Path] = {}
    for path in paths:
        name = path.resolve().name
        if name in names and names[name].resolve() != path.resolve():
            raise UserError(f"{names[name]} and {path}: two runs of one name can't be told apart; rename one of them")
        names[name] = path
    return list(names.values())


def _matches(text: str) -> list[Path]:
    path = Path(text)
    if path.exists() or PATTERN.isdisjoint(text):
        return [path]
    matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    runs = sorted(match for match in matches if (match / "run.json").exists())
    if not runs:
        raise UserError(f"{text}: no folder of a run matches this pattern")
    return runs


def _known(columns: Collection[str]) -> tuple[str, ...]:
    """Return the columns in their usual order; raises UserError if one is not known."""
    if isinstance(columns, str):
        raise UserError(f"columns: expected a list of names, found the text {columns!r}")
    for name in columns:
        if name not in WINDOW_COLUMNS:
            raise UserError(
                f"columns: windows have no column {name!r}{nearest(str(name), WINDOW_COLUMNS)}; metrics are in .cases"
            )
    return tuple(name for name in WINDOW_COLUMNS if name in columns)


def compared_runs(comparison: Comparison) -> FrameResult:
    """Return the comparison of two stored runs: `frame` has a row for each case, the worst first."""
    found = verdicts.of(comparison)
    note = " ".join(filter(None, [found.answer, found.details]))
    columns = ("name", "verdict", "ratio", "ratio_low", "ratio_high", "decided_by")
    return FrameResult({"frame": found.frame}, partial(changes, found.frame), note, columns)


def compared_live(base: pd.DataFrame, head: pd.DataFrame, keys: Sequence[str]) -> FrameResult:
    """Return the comparison of two live results; `keys` name a row: `module`, and the sizes of a sweep.

    Raises ValueError if they have no row in common.
    """
    both = base.merge(head, on=list(keys), suffixes=("_base", "_head"))
    both = both.loc[[not str(parity).startswith("is the reference") for parity in both["parity_base"]]]
    if both.empty:
        raise ValueError("the two results have no module in common, beside references")
    # Half the width of a 95% interval, for errors that are independent.
    halves = [(both[f"ratio_high_{side}"] / both[f"ratio_low_{side}"]).map(math.log) / 2 for side in ("base", "head")]
    value, error = (both["ratio_head"] / both["ratio_base"]).map(math.log), (halves[0] ** 2 + halves[1] ** 2) ** 0.5
    frame = both[list(keys)].copy()
    frame["ratio"], frame["ratio_low"], frame["ratio_high"] = (
        (value + end * error).map(math.exp) for end in (0.0, -1.0, 1.0)
    )
    frame["base_ratio"], frame["head_ratio"] = both["ratio_base"], both["ratio_head"]

    def draw(**how: Any) -> Any:
        raise ValueError("nothing to show: results of live modules have no verdicts; compare stored runs")

    return FrameResult({"frame": frame.reset_index(drop=True)}, draw, OF_LIVE, list(map(str, frame)))

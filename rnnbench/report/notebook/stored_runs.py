"""What `rnnbench.load(...)` returns."""

from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rnnbench import plot
from rnnbench.analysis.runs.lost_windows import noted
from rnnbench.analysis.runs.noise import noise
from rnnbench.analysis.runs.run_times import RunTimes, joined, read_whole
from rnnbench.analysis.runs.summary import fastest_ratios, reference_ratios, summarize
from rnnbench.errors import UserError
from rnnbench.report.notebook.frame_result import FrameResult, folded, paragraphs
from rnnbench.report.tables import table_environment
from rnnbench.report.words import headline
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


class StoredRuns(FrameResult):
    """One stored run or several, as plain frames: each is read when it is first used.

    - `cases`: a row for each case: its axes, metrics, time and ratio with 95% intervals (`rnnbench.summarize`);
    - `windows`: a row for each window, the raw datum; `steps`: a row for each step of a stream;
    - `replicates`: a row for each case and replicate: `seconds` per call and their `ratio`, the units of statistics;
    - `environment`: a row for each fact about the machine, the software and the run;
    - `names` of the runs, and `paths` of their folders.

    results/README.md describes every column.
    """

    FRAMES = ("cases", "windows", "replicates", "steps", "environment")

    def __init__(self, paths: Iterable[Path], columns: Collection[str] | None = None) -> None:
        """Read the runs; `columns`: the ones of `windows`, which of a long run take a gigabyte.

        Raises UserError if a folder is not a run, if a line can't be read, or for an unknown column.
        """
        self.paths = tuple(paths)
        self._columns = WINDOW_COLUMNS if columns is None else _known(columns)
        runs = [read_whole(path) for path in self.paths]
        self._infos: tuple[RunInfo, ...] = tuple(info for info, _, _ in runs)
        self._times: RunTimes = joined([times for _, _, times in runs])
        self._row_of = [{key: row for row, key in enumerate(known)} for _, known, _ in runs]
        self.names = tuple(path.resolve().name for path in self.paths)

    @cached_property
    def cases(self) -> pd.DataFrame:
        """A row for each case."""
        return with_categories(self._summary)

    @cached_property
    def windows(self) -> pd.DataFrame:
        """A row for each window, in the order of their cases."""
        return window_frame(self._times.cases, self._parts(self._columns), self._columns)

    @cached_property
    def steps(self) -> pd.DataFrame:
        """A row for each step of each stream."""
        return step_frame(self._times.cases, self._parts(STEP_COLUMNS))

    @cached_property
    def replicates(self) -> pd.DataFrame:
        """A row for each case and replicate that counts; `ratio` is NaN where the group has no reference."""
        rows = self._times.replicates
        has_reference = self._times.cases["reference"].ne("none").any()
        ratios = (reference_ratios if has_reference else fastest_ratios)(rows).set_index(["number", "replicate"])
        frame = rows.assign(mean_seconds=rows["seconds"] / rows["calls"], seconds=rows["median_seconds"])
        logs = ratios["log_ratio"].reindex(pd.MultiIndex.from_frame(rows[["number", "replicate"]]))
        frame["ratio"] = np.exp(logs.to_numpy(dtype=float))
        order = frame.sort_values(["number", "replicate"], kind="stable")
        return with_categories(order[list(REPLICATE_COLUMNS)].reset_index(drop=True))

    @cached_property
    def environment(self) -> pd.DataFrame:
        """A row for each fact: `run`, what it is `about`, `what` it is, and its `value` as text."""
        facts = [
            table_environment.render(info).frame.assign(run=name)
            for name, info in zip(self.names, self._infos, strict=True)
        ]
        return pd.concat(facts, ignore_index=True)[["run", "about", "what", "value"]].astype(str)

    def plot(self, name: str = "ratio", ax: Axes | None = None, **how: Any) -> Any:
        """One of the figures of reports: `run.plot("scaling")` draws `rnnbench.plot.scaling(run.cases)`.

        `ratio` of one run has the band of its noise floor. `ax` and `how` are those of the function. Raises ValueError
        if no figure has this name, or if there is nothing to show.
        """
        if name not in plot.__all__ or name == "changes":
            of_runs = [figure for figure in plot.__all__ if figure != "changes"]
            raise ValueError(f"no figure has the name {name!r}: expected one of {', '.join(of_runs)}")
        draw: Callable[..., Any] = getattr(plot, name)
        if name == "replicates":
            return draw(self.replicates, ax, **how)
        if name == "ratio" and len(self.paths) == 1:
            how = {"noise_floor": noise(self._times).floor} | how
        return draw(self.cases, ax, **how)

    def _parts(self, columns: Collection[str]) -> Iterable[WindowPart]:
        before = 0
        for path, info, row_of in zip(self.paths, self._infos, self._row_of, strict=True):
            for part in window_parts(path, info.id, row_of, stored_columns(columns)):
                yield WindowPart(part.file, part.number + before, part.table)
            before += len(row_of)

    def __repr__(self) -> str:
        """The answer of each run in words."""
        return folded("\n\n".join([*self._answers(), f"Frames: {', '.join(f'.{name}' for name in self.FRAMES)}"]))

    def _repr_html_(self) -> str:
        return paragraphs("\n\n".join(self._answers()))

    def _answers(self) -> list[str]:
        summary = self._summary
        answers = [
            " ".join([f"{name}: {headline.answer(summary[summary['run'] == name], info)}", *_lost(info)])
            for name, info in zip(self.names, self._infos, strict=True)
        ]
        return answers if len(answers) == 1 else [plural(len(answers), "run"), *answers]

    @cached_property
    def _summary(self) -> pd.DataFrame:
        return summarize(self._times)


def _lost(info: RunInfo) -> list[str]:
    """Sentences on the windows of a run that were lost."""
    return [f"{note[:1].upper()}{note[1:]}." for note in noted(info)]


def found(runs: "str | Path | Iterable[str | Path]") -> list[Path]:
    """The folders of runs: a path, a pattern such as `results/quick-*`, or several of both, each run once.

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
    """The columns in their usual order; raises UserError if one is not known."""
    if isinstance(columns, str):
        raise UserError(f"columns: expected a list of names, found the text {columns!r}")
    for name in columns:
        if name not in WINDOW_COLUMNS:
            raise UserError(
                f"columns: windows have no column {name!r}{nearest(str(name), WINDOW_COLUMNS)}; metrics are in .cases"
            )
    return tuple(name for name in WINDOW_COLUMNS if name in columns)

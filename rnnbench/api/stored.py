"""Functions of `import rnnbench` for stored runs."""

from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from rnnbench import plot
from rnnbench.analysis.run_times import RunTimes, joined, noted, read_whole, run_of_frames
from rnnbench.analysis.summary import noise, ratios
from rnnbench.analysis.summary import summarize as summarized
from rnnbench.api import for_users
from rnnbench.check.compare_files import compare_files
from rnnbench.errors import UserError
from rnnbench.report.case_tables import table_of_cases
from rnnbench.report.environment import table_of_environment
from rnnbench.report.facts import headline
from rnnbench.report.frame_result import ChangesResult, Frame, FrameResult, RunsResult
from rnnbench.report.sentences import of_run
from rnnbench.report.table import latex
from rnnbench.report.verdicts import verdicts
from rnnbench.report.verdicts.page import changes, table_for_paper
from rnnbench.report.words.names import SETTINGS, SIZES, several
from rnnbench.store.frames import (
    SCHEMA,
    step_frame,
    window_frame,
    window_tables,
    with_categories,
    with_sentences,
)
from rnnbench.text import share_of

REPLICATE_COLUMNS = ("run", "case", "replicate", "worker", "windows", "calls", "seconds", "mean_seconds", "ratio")
MEASURED_COLUMNS = ("seconds", "ratio", "ratio_low", "ratio_high", "parity")
CHANGE_COLUMNS = ("name", "verdict", "ratio", "ratio_low", "ratio_high", "decided_by")


@for_users
def load(runs: str | Path | Iterable[str | Path]) -> RunsResult:
    """Read stored runs: their cases, windows, replicates and environment as plain frames.

        run = rnnbench.load("results/quick-20260101T120000Z-ab12")
        run.frame[["cell", "batch_size", "seconds", "ratio", "ratio_low", "ratio_high"]]

    Args:
        runs: A run's folder, a pattern such as `"results/quick-*"`, or a list of both.

    Returns:
        A `FrameResult`. Its `.frame` has a row for each case: the axes that vary, `seconds` per call, `ratio` and its
        95% interval, `parity`, then metrics and the rest. `.replicates` has a row for each case and replicate,
        `.windows` for each window (half a gigabyte for a million), `.steps` for each step of a stream, `.environment`
        for each fact about the machine and the software; `.names` and `.paths` are those of the runs. `.plot(name)`
        draws the figure of `rnnbench.plot` with this name, by default `ratio`. docs/stored-runs.md describes every
        column.

    Raises:
        rnnbench.UserError: A folder is not a run, or a line can't be read.
    """
    paths = _run_folders(runs)
    contents = [read_whole(path) for path in paths]
    infos = [info for info, _, _ in contents]
    times = joined([times for _, _, times in contents])
    names = tuple(path.resolve().name for path in paths)
    summary = summarized(times)
    cases = with_categories(with_sentences(summary))
    axes = ["cell", "implementation", "phase", *several(summary, (*SETTINGS, *SIZES))]
    first = [*(["run"] if len(names) > 1 else []), *axes, *MEASURED_COLUMNS]

    def tables(columns: Collection[str]) -> Iterable[pa.Table]:
        before = 0
        for path, (info, lines, _) in zip(paths, contents, strict=True):
            row_of = {key: row for row, key in enumerate(lines, before)}
            yield from window_tables(path, info.id, row_of, columns)
            before += len(row_of)

    def draw(name: str = "ratio", ax: Any = None, **options: Any) -> Any:
        figures = [figure for figure in plot.__all__ if figure != "changes"]
        if name not in figures:
            raise ValueError(f"no figure has the name {name!r}: expected one of {', '.join(figures)}")
        if name == "ratio" and len(paths) == 1:
            options = {"noise_floor": noise(times).floor} | options
        return getattr(plot, name)(cases, ax, **options)

    answers = []
    environments = []
    for name, info in zip(names, infos, strict=True):
        environments.append(table_of_environment(info).frame.assign(run=name))
        notes = [f"{note[:1].upper()}{note[1:]}." for note in noted(info)]
        sentences = of_run(headline(summary[summary["run"] == name]))
        answers.append(" ".join([f"{name}:", *sentences, *notes]))
    frames: dict[str, Frame] = {
        "frame": cases[[*first, *(column for column in cases if column not in first)]],
        "windows": lambda: window_frame(times.cases, tables(SCHEMA.names)),
        "replicates": partial(_replicates, times),
        "steps": lambda: step_frame(times.cases, tables(["quantiles"])),
        "environment": pd.concat(environments, ignore_index=True)[["run", "about", "what", "value"]].astype(str),
    }
    note = f"Frames: {', '.join(f'.{name}' for name in frames)}"
    sentence = "\n\n".join(answers)
    table = partial(_table_of_cases, summary)
    return RunsResult(frames, draw, note, first, sentence=sentence, table=table, names=names, paths=tuple(paths))


def _table_of_cases(summary: pd.DataFrame) -> str:
    """Return the table of cases in LaTeX."""
    return latex(table_of_cases(summary))


def _replicates(times: RunTimes) -> pd.DataFrame:
    """Return a row for each case and replicate that counts; `ratio` is NaN where the group has no reference."""
    key = ["number", "replicate"]
    rows = times.replicates.merge(ratios(times)[[*key, "log_ratio"]], how="left", on=key).sort_values(
        key, kind="stable"
    )
    frame = rows.assign(
        mean_seconds=rows["seconds"] / rows["calls"],
        seconds=rows["median_seconds"],
        ratio=np.exp(rows["log_ratio"].astype(float)),
    )
    return with_categories(frame[list(REPLICATE_COLUMNS)].reset_index(drop=True))


def _run_folders(runs: "str | Path | Iterable[str | Path]") -> list[Path]:
    """Return the folders of runs: a path, a pattern such as `results/quick-*`, or several of both, each run once.

    Raises UserError if there is no run, and if two runs have one name.
    """
    folders: dict[Path, None] = {}
    for path in map(Path, [runs] if isinstance(runs, str | Path) else runs):
        pattern = str(path.relative_to(path.anchor))
        matches = [path] if path.exists() else sorted(Path(path.anchor).glob(pattern))
        run_folders = [match for match in matches if (match / "run.json").exists()]
        if not run_folders:
            raise UserError(
                f"{path}: expected the folder of a run; the folder of a check holds two: load its base or its head"
            )
        folders |= dict.fromkeys(run_folders)
    if not folders:
        raise UserError("runs: expected at least one folder of a run, found an empty list")
    if len({folder.resolve().name for folder in folders}) < len({folder.resolve() for folder in folders}):
        raise UserError(f"{runs}: two runs have the same name; rename one of their folders")
    return list(folders)


@for_users
def summarize(
    windows: FrameResult | pd.DataFrame,
    *,
    cases: pd.DataFrame | None = None,
    steps: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return a row for each case: its time per call and its ratio to the reference, with 95% intervals.

        summary = rnnbench.summarize(pd.read_parquet("windows.parquet"), cases=pd.read_parquet("cases.parquet"))

    Each interval covers its own case 95% of the time; none is widened because there are many. Below ten replicates the
    variances of the cases of a run borrow from each other, so a part of a frame may have slightly other intervals.

    Args:
        windows: What `rnnbench.load` returned, or a frame with the columns of its `.windows`, for example one that was
            selected from it or read back from a file.
        cases: A frame with metrics, such as `.frame` of `rnnbench.load`; its times are computed anew. Without it,
            metrics and limits are not known.
        steps: The frame `.steps`, needed for the windows of streams.

    Returns:
        A frame with the columns of the case, and

        - `replicates`, `windows`, `calls`: how many it was measured in;
        - `seconds`, `seconds_low`, `seconds_high`: time per call and its 95% interval. A replicate's time is the median
          of all its calls; the value is the mean over replicates, on logarithms;
        - `mean_seconds`: the plain mean over all calls, for what a median can't see;
        - `ratio`, `ratio_low`, `ratio_high`: time over that of the group's reference, from the ratios within each
          replicate; 1 for the reference itself, NaN if it was not measured. If no case has a reference, it is over the
          time of the fastest case of its group, which is 1;
        - `mean_ratio`: the ratio of the mean times of all calls, as it was on this machine, shared or not;
          `has_slow_calls`: whether only some calls are slow, so that the mean is surely above the ratio;
        - `submit_share`: the share of the windows' time that the host took to queue their calls; `launch_bound`:
          whether the device waited for the host (never on a CPU, which runs its calls itself);
        - of a run with streams, the latency of their steps: `latency_p50` to `latency_p99_9` and `late_share`;
        - the derived metrics (`rnnbench list metrics`), and `bound_by`, what sets the limit of its time: `arithmetic`,
          `memory`, `weights` (read in every step) or `steps`.

    Raises:
        rnnbench.UserError: A frame lacks a column or a row.
    """
    if isinstance(windows, FrameResult):
        return pd.DataFrame(windows.frame)
    return with_categories(with_sentences(summarized(run_of_frames(windows, cases, steps))))


@for_users
def compare(
    base: FrameResult | str | Path, head: FrameResult | str | Path, *, margin: str | float | None = None
) -> ChangesResult:
    """Compare two stored runs: what changed from `base` to `head`, judged as `rnnbench compare` does.

        rnnbench.compare("results/quick-20260101T120000Z-ab12", "results/quick-20260102T120000Z-cd34", margin="2.5%")

    To compare live modules, measure them together: `rnnbench.measure({"before": ..., "after": ...}, input)`.

    Args:
        base: The folder of a run, or what `rnnbench.load` returned for it.
        head: The same of the run that is compared with it.
        margin: The share of the time up to which a slower case is no regression (`"2.5%"` or 0.025), by default that of
            the head's suite.

    Returns:
        A `FrameResult`, which prints as a sentence and a table; `.plot()` draws the changes. Its `.frame` has a row for
        each case, the worst first: `case` and its short `name`; `verdict` (missing if it was not compared) and
        `margin`; `ratio` of the head's time to the base's with its 95% interval, and `mean_ratio` for the mean of the
        calls; `decided_by`, what gave the verdict, and `described_by`, which of the two ratios says how much;
        `replicates` and `why`.

    Raises:
        ValueError: A side is not one stored run, or the margin is no share.
        rnnbench.UserError: The two have nothing in common.
    """
    paths: list[Path] = []
    for name, side in (("base", base), ("head", head)):
        runs = getattr(side, "paths", ()) if isinstance(side, FrameResult) else _run_folders(side)
        if len(runs) != 1:
            raise ValueError(
                f"{name}: expected 1 stored run, found {len(runs)}; rnnbench.measure compares live modules"
            )
        paths += runs
    comparison = compare_files(paths[0], paths[1], margin=_share("margin", margin))
    result = verdicts.verdicts_of(comparison)
    draw = partial(changes, result.frame)
    frames: dict[str, Frame] = {"frame": result.frame}
    table = partial(latex, table_for_paper(result))
    return ChangesResult(
        frames, draw, result.details, CHANGE_COLUMNS, sentence=result.answer, is_pictured=True, table=table
    )


def _share(name: str, value: str | float | None) -> float | None:
    """Return a share (`"2.5%"`, 0.025) as a number; raises ValueError with the name of the argument."""
    try:
        return None if value is None else share_of(value)
    except ValueError as fault:
        raise ValueError(f"{name}: {fault}") from None

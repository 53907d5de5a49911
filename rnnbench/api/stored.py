"""Functions of `import rnnbench` for stored runs."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from rnnbench.api.errors import for_users

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from rnnbench.report.notebook.compared import Compared
    from rnnbench.report.notebook.explained import Explained
    from rnnbench.report.notebook.measured import Measured
    from rnnbench.report.notebook.stored_runs import StoredRuns
    from rnnbench.report.notebook.swept import SweptModules

    Comparable: TypeAlias = StoredRuns | Measured | SweptModules | Explained

ALIKE = ("reference", "phase", "device", "threads")  # in two live results, else they are not of the same work


@for_users
def load(runs: "str | Path | Iterable[str | Path]", columns: "Collection[str] | None" = None) -> "StoredRuns":
    """Read stored runs: their cases, windows, replicates and environment as plain frames.

        run = rnnbench.load("results/quick-20260101T120000Z-ab12")
        run.cases[["cell", "batch_size", "seconds", "ratio", "ratio_low", "ratio_high"]]

    `runs`: a run's folder, a pattern such as `"results/quick-*"`, or a list of both. `columns`: the columns of
    `.windows` that are needed. All columns of a run with a million windows take half a gigabyte.

    Returns a `rnnbench.report.notebook.stored_runs.StoredRuns` with `.cases` (a row for each case: axes, metrics, time
    and ratio with 95% intervals), `.windows` (a row for each window), `.replicates`, `.steps` (of streams) and
    `.environment`. results/README.md describes every column. Raises `rnnbench.errors.UserError` if a folder is not a
    run, if a line can't be read, or for an unknown column.
    """
    from rnnbench.report.notebook.stored_runs import StoredRuns, found

    return StoredRuns(found(runs), columns)


@for_users
def summarize(
    windows: "StoredRuns | pd.DataFrame",
    cases: "pd.DataFrame | None" = None,
    steps: "pd.DataFrame | None" = None,
) -> "pd.DataFrame":
    """One row for each case: its time per call and its ratio to the reference, with 95% intervals.

        summary = rnnbench.summarize(pd.read_parquet("windows.parquet"), pd.read_parquet("cases.parquet"))

    `windows`: what `rnnbench.load` returned, or a frame with the columns of its `.windows`, for example one that was
    selected from it or read back from a file. `cases`: a frame with metrics, such as `.cases`; its times are computed
    anew. Without it, metrics and limits are not known. `steps`: the frame `.steps`, needed for the windows of streams.

    Beside the columns of the case:

    - `replicates`, `windows`, `calls`: how many it was measured in;
    - `seconds`, `seconds_low`, `seconds_high`: time per call and its 95% interval. A replicate's time is the median
      of all its calls; the value is the Hodges-Lehmann estimate over replicates, on logarithms;
    - `mean_seconds`: the plain mean over all calls, for what a median can't see;
    - `ratio`, `ratio_low`, `ratio_high`: time over that of the group's reference, from the ratios within each
      replicate; 1 for the reference itself, NaN if it was not measured. If no case has a reference, it is over the time
      of the fastest case of its group, which is 1;
    - `submit_share`: the share of the windows' time that the host took to queue their calls; `launch_bound`: whether
      the device waited for the host (never on a CPU, which runs its calls itself);
    - of a run with streams, the latency of their steps: `latency_p50` to `latency_p99_9` and `late_share`;
    - the derived metrics (`rnnbench list metrics`), and `bound_by`, what sets the limit of its time: `arithmetic`,
      `memory`, `weights` (read in every step) or `steps`.

    Each interval covers its own case 95% of the time; none is widened because there are many. Below ten replicates the
    variances of the cases of a run borrow from each other, so a part of a frame may have slightly other intervals.
    Raises `rnnbench.errors.UserError` if a frame lacks a column or a row.
    """
    from rnnbench.analysis.runs.from_frames import run_times
    from rnnbench.analysis.runs.summary import summarize as summarized
    from rnnbench.report.notebook.stored_runs import StoredRuns
    from rnnbench.store.frames import with_categories

    if isinstance(windows, StoredRuns):
        return windows.cases
    return with_categories(summarized(run_times(windows, cases, steps)))


@for_users
def compare(base: "Comparable", head: "Comparable", *, margin: float | None = None) -> "Compared":
    """Compare two results: what changed from `base` to `head`.

        rnnbench.compare(rnnbench.load("results/quick-20260101T120000Z-ab12"), rnnbench.load("results/quick-2026..."))

    `base`, `head`: two stored runs from `rnnbench.load`, one run each, which are judged as `rnnbench compare` does;
    `margin`: the share of the time up to which a slower case is not a regression, by default that of the head's suite.
    Or two results of `measure` or `sweep`, whose ratios to their references are compared, without a verdict.

    Returns a `rnnbench.report.notebook.compared.Compared` with `.frame` and `.note`. Raises TypeError for results of
    different kinds, ValueError for live ones of other work (another phase, device or number of threads, other sizes) or
    with another reference, and ValueError or `rnnbench.errors.UserError` if the two have nothing in common.
    """
    from rnnbench.analysis.compare_files import compare_files
    from rnnbench.report.notebook.compared import of_live, of_runs
    from rnnbench.report.notebook.stored_runs import StoredRuns

    if isinstance(base, StoredRuns) and isinstance(head, StoredRuns):
        for side, runs in (("base", base), ("head", head)):
            if len(runs.paths) != 1:
                raise ValueError(f"{side}: expected one run, found {len(runs.paths)}; load each by itself")
        return of_runs(compare_files(base.paths[0], head.paths[0], margin=margin, reference=None))
    if margin is not None:
        raise ValueError("margin: only stored runs are judged; leave it out")
    frames = [_of_live(side) for side in (base, head)]
    _refuse_unlike(base, head)
    return of_live(frames[0], frames[1], ["module", *getattr(base, "axes", ())])


def _refuse_unlike(base: "Comparable", head: "Comparable") -> None:
    """Raise TypeError or ValueError for two live results that are not of the same work, or not to the same module."""
    from rnnbench.report.notebook.explained import Explained

    sides = [side.measured if isinstance(side, Explained) else side for side in (base, head)]
    if type(sides[0]) is not type(sides[1]):
        names = " and ".join(type(side).__name__ for side in sides)
        raise TypeError(f"expected two results of measure, or two of sweep; found {names}")
    for name in ALIKE:
        of_base, of_head = (getattr(side, name, None) for side in sides)
        if of_base != of_head:
            raise ValueError(f"{name}: the base has {of_base!r} and the head {of_head!r}; they must be the same")
    of_base, of_head = (sorted(getattr(side, "axes", ())) for side in sides)
    if of_base != of_head:
        raise ValueError(f"the base was swept over {', '.join(of_base)} and the head over {', '.join(of_head)}")


def _of_live(result: "Comparable") -> "pd.DataFrame":
    from rnnbench.report.notebook.explained import Explained
    from rnnbench.report.notebook.measured import Measured
    from rnnbench.report.notebook.swept import SweptModules
    from rnnbench.store.frames import without_categories

    if isinstance(result, SweptModules):
        return without_categories(result.frame)
    if isinstance(result, Measured | Explained):
        return result.frame.reset_index()
    raise TypeError(f"expected two stored runs, or two results of measure or sweep; found {type(result).__name__}")


@for_users
def predict(
    run: "StoredRuns | pd.DataFrame", sizes: "str | Mapping[str, int | str | Iterable[int | str]]"
) -> "pd.DataFrame":
    """Predict the time, and the ratio to torch.nn, of each series of a run at sizes that were not measured.

        rnnbench.predict(rnnbench.load("results/..."), "batch_size=48 seq_len=32 hidden_size=200,400 cell=lstm")

    `run`: what `rnnbench.load` returned, or its `.cases`. `sizes`: an expression, or a mapping from axis to values. All
    combinations of `batch_size`, `seq_len`, `input_size` and `hidden_size` are predicted; an axis that was measured at
    a single value may be left out. Other axes (`cell`, `phase`, ...) select the series that have these values.

    Returns a row for each series and size, with its axes and

    - `status`: `predicted` or `not predicted`; `reason`, which also explains a missing interval;
    - `seconds`, `seconds_low`, `seconds_high` per call, `ratio`, `ratio_low`, `ratio_high`: the fit and its 95%
      interval;
    - `spent_on`: `dispatch`, `arithmetic` or `memory`, whichever takes most of the time; columns of these names hold
      the shares;
    - `measured_seconds`: the time that was measured at exactly this size, NaN if there is none.

    A series is a cell's times over sizes. A fit needs at least six sizes, with three or more values on two of the axes.
    Nothing is predicted beyond twice the measured range. Raises `rnnbench.errors.UserError` if there is no such series,
    or if a size is missing or not a whole number.
    """
    from rnnbench.analysis.scaling.predict import predict as predicted
    from rnnbench.expressions import parse_only
    from rnnbench.report.notebook.stored_runs import StoredRuns
    from rnnbench.store.frames import without_categories

    cases = run.cases if isinstance(run, StoredRuns) else run
    summary = without_categories(cases if "seconds_low" in cases else summarize(cases))
    given = sizes if isinstance(sizes, str) else " ".join(f"{axis}={_values(value)}" for axis, value in sizes.items())
    return predicted(summary, parse_only([given], "sizes"))


def _values(value: "int | str | Iterable[int | str]") -> str:
    """One value, or several in any list, range, array or Series."""
    from rnnbench.expressions import quoted

    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    return ",".join(quoted(str(item)) for item in value)

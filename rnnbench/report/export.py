"""A run, or the verdicts of a check, in formats that other tools read."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnbench.errors import UserError
from rnnbench.text import encoded, plural

if TYPE_CHECKING:
    import pandas as pd

    from rnnbench.analysis.run_times import RunTimes
    from rnnbench.store.run_info import RunInfo


@dataclass(frozen=True)
class ExportedRun:
    """A run and its summary."""

    info: "RunInfo"
    times: "RunTimes"
    summary: "pd.DataFrame"  # `rnnbench.analysis.summary.summarize(times)`
    windows: "pd.DataFrame | None" = None  # if they are written instead of the cases


def exported_frame(run: ExportedRun) -> "pd.DataFrame":
    """Return the windows of a run if they are asked for, else its cases, with the columns of `rnnbench.load`.

    Counts are whole numbers, also with some missing. Beside them stands where a row comes from, so that rows of many
    runs can be put together: commit, processor, nodes of a cluster and torch, as far as they are known.
    """
    import pandas as pd

    from rnnbench.analysis.environments import processor
    from rnnbench.report.words.names import identity
    from rnnbench.store.frames import with_categories
    from rnnbench.store.metrics import OBSERVED
    from rnnbench.store.record import MAX_INTEGER

    frame = with_categories(run.summary if run.windows is None else run.windows)
    whole = ("warmup_windows", *(metric.name for metric in OBSERVED if metric.unit in ("count", "bytes")))
    values = {name: frame[name].dropna() for name in whole if name in frame}
    counts = [name for name, known in values.items() if ((known % 1 == 0) & (known.abs() < MAX_INTEGER)).all()]
    environment = run.info.environment
    git, machine, worker, slurm = (environment.get(part) or {} for part in ("git", "machine", "worker", "slurm"))
    known, revision = processor(run.info), str(git.get("commit") or "")
    origin = {
        "commit": f"{revision}{'+' if revision and git.get('dirty') else ''}",
        "processor": "; ".join(filter(None, [str(machine.get("cpu") or ""), identity(known) if known else ""])),
        "node": ", ".join(map(str, slurm.get("nodes") or [])),
        "torch": str(worker.get("torch") or ""),
    }
    columns = {
        name: pd.Series([value or None], dtype="str").astype("category").iloc[[0] * len(frame)].set_axis(frame.index)
        for name, value in origin.items()
    }
    return frame.astype(dict.fromkeys(counts, "Int64")).assign(**columns)


def parquet(frame: "pd.DataFrame") -> bytes:
    """Return a frame as the bytes of a Parquet file; its types do not depend on what is known of the cases."""
    import pyarrow as pa
    from pyarrow import parquet as files

    table = pa.Table.from_pandas(frame, preserve_index=False)
    for index, field in enumerate(table.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_null(kind):  # no row has a text
            empty = pa.array([None] * len(table), pa.string()).dictionary_encode()
            table = table.set_column(index, field.name, empty)
    out = io.BytesIO()
    files.write_table(table, out)
    return out.getvalue()


def lines(summary: "pd.DataFrame") -> str:
    """Return every case as a JSON object on a line, with all digits of its numbers; null if missing or infinite."""
    from rnnbench.report.as_pytest_benchmark import plain

    rows: list[dict[Any, Any]] = summary.to_dict("records")
    return "".join(f"{json.dumps(plain(row), allow_nan=False)}\n" for row in rows)


def _csv(frame: "pd.DataFrame") -> bytes:
    from rnnbench.report.table import csv

    return encoded(csv(frame))


def _as_read(kind: str) -> Callable[[ExportedRun], bytes]:
    """Return a function that writes the table of a report."""

    def render(run: ExportedRun) -> bytes:
        from rnnbench.report.cases import table_of_cases

        return next(data for name, data in table_of_cases(run.summary, run.info).files().items() if name.endswith(kind))

    return render


def _as_pytest_benchmark(run: ExportedRun) -> bytes:
    from rnnbench.report.as_pytest_benchmark import render

    return encoded(render(run.info, run.times, run.summary))


@dataclass(frozen=True)
class Format:
    """How a format is written, and what it can hold."""

    suffix: str  # of its files
    render: Callable[[ExportedRun], bytes]
    of_frame: "Callable[[pd.DataFrame], bytes] | None" = None  # if it can hold windows and verdicts
    keeps_all: bool = True  # also cases that were not measured
    is_text: bool = True  # may go to standard output


FORMATS = {
    "csv": Format("csv", lambda run: _csv(exported_frame(run)), _csv),
    "parquet": Format("parquet", lambda run: parquet(exported_frame(run)), parquet, is_text=False),
    "json": Format("jsonl", lambda run: encoded(lines(run.summary))),
    "markdown": Format("md", _as_read("md")),
    "latex": Format("tex", _as_read("tex")),
    "pytest-benchmark": Format("json", _as_pytest_benchmark, keeps_all=False),
}


def rendered_check(to: str, folder: Path) -> bytes:
    """Return the whole file for a check: a row for each case, with its axes, verdict, ratios and reason.

    Raises UserError if the format has no place for verdicts, or the check ended without any.
    """
    import pandas as pd

    from rnnbench.report.verdicts.verdicts import read

    write = FORMATS[to].of_frame
    if write is None:
        raise UserError(f"{folder}: {to} has no place for verdicts; give csv or parquet, or the run {folder / 'head'}")
    if (check := read(folder)) is None:
        raise UserError(
            f"{folder}: this check ended without verdicts; its runs are {folder / 'base'} and {folder / 'head'}"
        )
    axes = pd.DataFrame([row.subject.axes() for row in check.rows])
    return write(axes.join(check.frame.set_index(axes.index)))


def left_out(to: str, summary: "pd.DataFrame") -> str:
    """Return how many cases a format can't hold, and why; empty if it has all."""
    without = summary[summary["seconds"].isna()]
    if FORMATS[to].keeps_all or without.empty:
        return ""
    reasons = (without["status"] + ": " + without["reason"]).value_counts()
    named = [f"{number:,} {reason}" for reason, number in reasons.head(3).items()]
    more = f"; {int(reasons.iloc[3:].sum()):,} otherwise" if len(reasons) > len(named) else ""
    return f"{plural(len(without), 'case')} left out, without a time ({'; '.join(named)}{more})"

"""Stored records as pandas frames, of plain columns that every kind of file can hold."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rnnbench.store.ceilings import Ceiling
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.records import AXES, MAX_QUANTILES, PLAIN, Measurement, Window, Workload, evenly_spaced
from rnnbench.store.run_info import RunInfo
from rnnbench.store.windows import SCHEMA
from rnnbench.text import writable

NUMBERS = tuple(name for name, hint in get_type_hints(Workload).items() if hint in (int, float, bool))
TEXT_AXES = tuple(axis for axis in AXES if axis not in NUMBERS)
# Columns of few texts: a million windows share the text of their case, and files of frames can hold categories.
CATEGORIES = ("run", "case", *TEXT_AXES, "status", "backend", "bound_by", "ceiling", "worker", "cores", "device_uuid")
OBSERVED_COLUMNS = [metric.name for metric in OBSERVED]
# What is stored of a case beside its times. `missing` and `ceiling` are JSON, since files of frames hold no objects.
CASE_COLUMNS = ["run", "case", *AXES, *PLAIN, *OBSERVED_COLUMNS, "missing", "ceiling", "period_seconds"]
QUANTILES = tuple(f"quantile_{index}" for index in range(MAX_QUANTILES))
OF_WINDOWS = tuple(
    column
    for each in fields(Window)
    if each.name not in ("case", "run")
    for column in (QUANTILES if each.name == "quantiles" else (each.name,))
)
OF_CASES = ("run", "case", *AXES, "status")
WINDOW_COLUMNS = (*OF_CASES, *OF_WINDOWS)
STEP_COLUMNS = ("run", "case", "replicate", "worker", "order", "step", "seconds")


def case_frame(path: Path, info: RunInfo, measurements: Iterable[Measurement]) -> pd.DataFrame:
    """Return one row for each case, with the columns `CASE_COLUMNS`."""
    ceilings: dict[tuple[Any, ...], str] = {
        ceiling.place: ceiling.to_text() for ceiling in map(Ceiling.from_json, info.ceilings)
    }
    measure = info.resolved.get("measure") or {}
    period = measure.get("period_seconds")
    rows = [
        {
            "run": writable(path.name),
            "case": known.case.key,
            **known.case.axes(),
            **{name: getattr(known, name) for name in PLAIN},
            **known.metrics,
            "missing": missing_text(known.missing),
            "ceiling": ceilings.get(known.case.workload.place, ""),
            "period_seconds": math.nan if period is None else float(period),
        }
        for known in measurements
    ]
    frame = pd.DataFrame(rows, columns=CASE_COLUMNS)
    if measure.get("cold_cache"):  # in older runs a setting of the whole run
        frame["caches"] = "cold"
    return frame.astype(
        dict.fromkeys((*OBSERVED_COLUMNS, "parity_error", "warmup_windows"), float)
        | {"run": object, "case": object, "missing": str, "ceiling": str}
    )


def missing_text(reasons: Any) -> str:
    """Return why metrics are missing, as the column `missing` holds it: JSON, metric -> reason; empty without any."""
    return json.dumps(reasons) if isinstance(reasons, Mapping) and reasons else ""


def missing_reasons(text: Any) -> dict[str, str]:
    """Return the inverse of `missing_text`; empty for a frame's missing value, too."""
    return json.loads(text) if isinstance(text, str) and text else {}


def with_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with its columns of few texts as categories, in the order in which they appear."""
    return frame.assign(**{name: category(frame[name]) for name in CATEGORIES if name in frame})


def category(values: Iterable[object]) -> pd.Categorical:
    """Return texts as categories in the order in which they appear."""
    codes, texts = pd.factorize(pd.Series(values, dtype=object))
    return pd.Categorical.from_codes(codes, categories=pd.Index(texts, dtype=str))


def without_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with text in place of categories, which can be compared, filled and put together."""
    names = [name for name, kind in frame.dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
    return frame.assign(**{str(name): frame[name].astype(object) for name in names}) if names else frame


def window_frame(cases: pd.DataFrame, tables: Iterable[pa.Table]) -> pd.DataFrame:
    """Return a row for each window, in the order of their cases, with the columns `WINDOW_COLUMNS`.

    `cases`: the frame of cases; `tables`: windows with the row of their case.
    """
    table = joined(tables).sort_by("number")
    number = table["number"].to_numpy()
    lists = table["quantiles"].combine_chunks()
    sizes, points = lists.value_lengths().to_numpy(), lists.flatten().to_numpy()
    starts = np.cumsum(sizes) - sizes
    quantiles = np.full((len(sizes), MAX_QUANTILES), np.nan)
    for size in np.unique(sizes):
        chosen = np.array(evenly_spaced(range(size)))
        rows = np.flatnonzero(sizes == size)
        quantiles[rows, : len(chosen)] = points[starts[rows][:, None] + chosen]
    cores = pc.binary_join(pc.cast(table["cores"], pa.list_(pa.string())), ",")
    plain = table.drop_columns(["number", "quantiles", "cores"]).append_column("cores", cores)
    frames: list[pd.DataFrame] = [
        with_categories(cases[list(OF_CASES)]).iloc[number].reset_index(drop=True),
        with_categories(plain.to_pandas()),
        pd.DataFrame(quantiles, columns=list(QUANTILES)),
    ]
    frame: pd.DataFrame = pd.concat(frames, axis=1)[list(WINDOW_COLUMNS)]
    return frame


def step_frame(cases: pd.DataFrame, tables: Iterable[pa.Table]) -> pd.DataFrame:
    """Return a row for each step of each stream: its `seconds`, and its place `step` in the window, shortest first."""
    streams = pa.array(np.flatnonzero(cases["task"].eq("streaming")))
    table = joined(each.filter(pc.is_in(each["number"], streams)) for each in tables)
    lists = table["quantiles"].combine_chunks()
    rows = pc.list_parent_indices(lists).to_numpy()
    plain = table.select(["number", "replicate", "worker", "order"]).to_pandas()
    frame: pd.DataFrame = with_categories(plain).iloc[rows].reset_index(drop=True)
    frame["step"], frame["seconds"] = pd.Series(rows).groupby(rows).cumcount(), lists.flatten().to_numpy()
    of_cases = with_categories(cases[["run", "case"]]).iloc[frame["number"]].reset_index(drop=True)
    frame = frame.assign(run=of_cases["run"], case=of_cases["case"])
    return frame.reindex(columns=list(STEP_COLUMNS))


def joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Return several tables of windows as one; a table without rows, and with all columns, if there is none."""
    nothing = SCHEMA.empty_table().drop_columns(["case", "run"]).append_column("number", pa.array([], pa.int64()))
    return pa.concat_tables([*tables] or [nothing])

"""Each case's windows in a visit reduced to one row, from which times, ratios and noise follow.

A run may have ten million windows and more; it has a row here for each case and replicate. The windows are read in
parts, and a part ends where a visit does, so that all windows of a row are reduced at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from rnnbench.analysis.replicate import LEVELS, log_quantiles, log_ratios
from rnnbench.store.windows import WindowPart, empty_table

VISIT_COLUMNS = (
    "number", "replicate", "worker", "turns", "started", "windows", "calls", "seconds", "host_seconds",
    "submit_seconds", "waits", "log_quantiles", "self_log_ratio", "steps",
)  # fmt: skip
MAX_CALLS = float(np.nextafter(2.0**63, 0))  # a count that a file of somebody else may hold, and an integer too
NEEDED = ("started", "calls", "seconds", "host_seconds", "submit_seconds", "waits", "quantiles")  # columns of windows


def reduce_windows(read: Callable[[], Iterable[WindowPart]], is_stream: np.ndarray) -> pd.DataFrame:
    """A row for each case and visit of a run, whether the visit was complete or not.

    `read`: reads the run's windows; `is_stream`: of each case, whether its windows have the seconds of every step.
    Columns:

    - `number` (the row of the case), `replicate`, `worker`, `turns` (windows of the whole visit, of all its cases);
    - `started`, when the first of the windows began, in seconds since the run did;
    - `windows`, and the sums of their `calls`, `seconds`, `host_seconds`, `submit_seconds` and `waits`;
    - `log_quantiles`: 49 quantiles of the logarithms of the seconds of all calls, as an array;
    - `self_log_ratio`: the log-ratio of one half of the windows to the other, dealt out in the order in which two cases
      would take turns; NaN for a single window;
    - `steps`: of a stream, the seconds of all its steps, as an array; None for other cases.
    """
    rows = _reduced(_whole_visits(read()), is_stream)
    if rows.duplicated(["number", "replicate", "worker"]).any():  # the files have been put into another order
        rows = _reduced(_whole_files(read()), is_stream)
    return rows


def _reduced(parts: Iterable[WindowPart], is_stream: np.ndarray) -> pd.DataFrame:
    rows = [reduced(part.number, part.table, is_stream) for part in parts if len(part.number)]
    rows = rows or [reduced(np.empty(0, dtype=np.int64), empty_table(NEEDED), is_stream)]
    return pd.concat(rows, ignore_index=True)


def reduced(number: np.ndarray, windows: pa.Table, is_stream: np.ndarray) -> pd.DataFrame:
    """The rows of some windows that contain each visit whole or not at all."""
    replicate, worker = windows["replicate"].to_numpy(), windows["worker"].to_numpy()
    group, firsts = _groups(number, replicate, worker)
    lists = windows["quantiles"].combine_chunks()
    sizes, points = lists.value_lengths().to_numpy(), lists.flatten().to_numpy()
    calls = windows["calls"].to_numpy().astype(float)
    host_seconds = windows["host_seconds"].to_numpy()
    sums = {name: windows[name].to_numpy() for name in ("seconds", "host_seconds", "submit_seconds")}
    sums["submit_seconds"] = np.where(np.isnan(sums["submit_seconds"]), host_seconds, sums["submit_seconds"])  # older
    # ABBA: the first of a pair of turns goes to one arm, in the next pair to the other, and so on over replicates.
    turn = places(group, windows["order"].to_numpy())
    sides, of_side = np.unique(2 * group + (turn % 2 + turn // 2 + replicate) % 2, return_inverse=True)
    halves = np.full((len(firsts), 2, len(LEVELS)), np.nan)
    halves[sides // 2, sides % 2] = log_quantiles(of_side, sizes, points, calls)
    waits = np.nan_to_num(windows["waits"].to_numpy().astype(float), nan=1.0)  # older
    return pd.DataFrame(
        {
            "number": number[firsts],
            "replicate": replicate[firsts],
            "worker": worker[firsts],
            "turns": windows["turns"].to_numpy()[firsts],
            "started": _least(group, windows["started"].to_numpy(), len(firsts)),
            "windows": np.bincount(group, minlength=len(firsts)),
            "calls": np.minimum(np.bincount(group, calls, minlength=len(firsts)), MAX_CALLS).astype(np.int64),
            **{name: np.bincount(group, values, minlength=len(firsts)) for name, values in sums.items()},
            "waits": np.bincount(group, waits, minlength=len(firsts)),
            "log_quantiles": list(log_quantiles(group, sizes, points, calls)),
            "self_log_ratio": log_ratios(halves[:, 1], halves[:, 0]),
            "steps": _steps(group, firsts, sizes, points, is_stream[number[firsts]]),
        }
    )


def places(group: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The index of each row among those of its group, by `order`: 0, 1, 2, ..."""
    rows = np.lexsort((order, group))
    ordered = group[rows]
    indices = np.empty(len(rows), dtype=np.int64)
    indices[rows] = np.arange(len(rows)) - np.searchsorted(ordered, ordered)
    return indices


def _whole_visits(parts: Iterable[WindowPart]) -> Iterator[WindowPart]:
    """The same windows in parts that end where a visit does: the windows of a visit follow each other in a file."""
    kept: list[WindowPart] = []  # of one file: the beginning of a visit, whose end is still to come
    for part in parts:
        if kept and part.file != kept[0].file:
            yield _joined(kept)
            kept = []
        starts = np.flatnonzero(part.table["order"].to_numpy() == 0)
        if len(starts):
            before, after = _split(part, int(starts[-1]))
            yield _joined([*kept, before])
            kept = [after]
        else:
            kept.append(part)
    if kept:
        yield _joined(kept)


def _whole_files(parts: Iterable[WindowPart]) -> Iterator[WindowPart]:
    for _, of_file in groupby(parts, key=lambda part: part.file):
        yield _joined(list(of_file))


def _split(part: WindowPart, row: int) -> tuple[WindowPart, WindowPart]:
    return (
        WindowPart(part.file, part.number[:row], part.table[:row]),
        WindowPart(part.file, part.number[row:], part.table[row:]),
    )


def _joined(parts: Sequence[WindowPart]) -> WindowPart:
    number = np.concatenate([part.number for part in parts])
    return WindowPart(parts[0].file, number, pa.concat_tables([part.table for part in parts]))


def _groups(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A number for each row, the same for rows with the same keys, and the first row of each."""
    number = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        codes, values = pd.factorize(key)
        number = number * (len(values) + 1) + codes
    _, firsts, group = np.unique(number, return_index=True, return_inverse=True)
    return group, firsts


def _least(group: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """The least value of each group."""
    least = np.full(size, np.inf)
    np.minimum.at(least, group, values)
    return least


def _steps(group: np.ndarray, firsts: np.ndarray, sizes: np.ndarray, points: np.ndarray, is_stream: np.ndarray) -> Any:
    """The points of all windows of each group, where it `is_stream`; None for the others."""
    steps = np.full(len(firsts), None, dtype=object)
    of_point = np.repeat(group, sizes)
    for index in np.flatnonzero(is_stream):
        steps[index] = points[of_point == index]
    return steps

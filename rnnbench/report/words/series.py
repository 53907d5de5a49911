"""A series is a cell run in one way: its name and its place in the order."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.report.words.axes import SETTINGS, SIZES, one_line, say_all, several, swept
from rnnbench.report.words.reference import is_reference
from rnnbench.store.records import reference_cell


def series_name(cell: str, implementation: str) -> str:
    """`lstm hoisted`; `torch.nn.LSTM`, `torch.nn.LSTMCell`, `torch.nn.LSTM padded`; a cell that is the reference."""
    own = {"torch.nn": "", "reference": "", "torch.nn-cell": "", "torch.nn-padded": "padded"}.get(
        implementation, implementation.removeprefix("torch.nn-")
    )
    return f"{one_line(cell)} {own}".rstrip()


def with_series(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with each row's `series` and `family`, sorted so that rows to compare stand together.

    A family shares one reference: `torch.nn.RNN`, or `torch.nn.RNN, 3 layers` if that number belongs to the cell, or
    a data set. Rows of torch.nn have the family's name as their series.
    """
    frame = summary.copy()
    fixed = [axis for axis in several(summary, SIZES) if axis not in swept(summary, SIZES)]
    plain = frame[fixed].eq(frame[fixed].min()).all(axis=1)
    frame["is_plain"] = plain

    def family(reference: Any, is_plain: bool, *sizes: Any) -> str:
        return reference_cell(reference) if is_plain else f"{reference_cell(reference)}, {say_all(fixed, sizes)}"

    def series(family: str, cell: str, implementation: str) -> str:
        return family if implementation in ("torch.nn", "reference") else series_name(cell, implementation)

    frame["family"] = _each(frame, ["reference", "is_plain", *fixed], family)
    frame["series"] = _each(frame, ["family", "cell", "implementation"], series)
    del frame["is_plain"]
    own = ~is_reference(frame).to_numpy()
    by_family, by_cell, by_implementation = (
        pd.factorize(frame[key])[0] for key in ("family", "cell", "implementation")
    )
    # By family first; within it the reference, then each cell as it came.
    order = np.lexsort((by_implementation, by_cell, own, by_family))
    return frame.iloc[order]


def _each(frame: pd.DataFrame, columns: list[str], say: Callable[..., str]) -> list[str]:
    """Apply `say` to some columns of each row, but only once for each set of values."""
    number = frame.groupby(columns, sort=False, dropna=False).ngroup().to_numpy()
    firsts = np.unique(number, return_index=True)[1]
    texts = [say(*values) for values in frame[columns].iloc[firsts].itertuples(index=False, name=None)]
    return [texts[index] for index in number]


def by_workload(summary: pd.DataFrame) -> pd.DataFrame:
    """The cases with their `series`, sorted by workload, with the reference first."""
    frame = with_series(summary)
    frame["group"] = _group_numbers(frame)
    return frame.sort_values("group", kind="stable")


def _group_numbers(frame: pd.DataFrame) -> Any:
    """Number the workloads by phase, settings and sizes; phases and settings count in order of appearance."""
    ranks = {axis: pd.factorize(frame[axis])[0] for axis in ("phase", *SETTINGS, "family")}
    keys = pd.DataFrame(ranks | {axis: frame[axis].to_numpy() for axis in SIZES}, index=frame.index)
    order = [*("phase", *SETTINGS), *SIZES, "family"]
    return keys.groupby(order, sort=True).ngroup()

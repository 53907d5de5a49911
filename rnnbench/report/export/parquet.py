"""Parquet: the same rows as CSV, with their types; lists stay lists, and `missing` is a map from metric to reason."""

import io
from typing import Any

import pandas as pd

from rnnbench.report.export import columns
from rnnbench.store.run_info import RunInfo


def render(frame: pd.DataFrame, summary: pd.DataFrame, info: RunInfo, *, windows: bool = False) -> bytes:
    """The bytes of one file."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = columns.of_windows(frame) if windows else columns.of_cases(summary)
    types = _nested_types()
    arrays = {}
    for column, values in rows.items():
        nested = types.get(column)
        array = pa.array(map(_items, values), nested) if nested else pa.array(values, from_pandas=True)
        arrays[column] = array.cast(pa.string()) if pa.types.is_null(array.type) else array  # no row has a value
    out = io.BytesIO()
    parquet.write_table(pa.table(arrays), out)
    return out.getvalue()


def _nested_types() -> dict[Any, Any]:
    """The types of nested columns: fixed, not inferred, so that they do not depend on the cases of a run."""
    import pyarrow as pa

    number, whole, text = pa.float64(), pa.int64(), pa.string()
    key = [("device", text), ("dtype", text), ("threads", whole)]
    sized = pa.list_(pa.list_(number))
    rates = [("macs_per_second", number), ("copies", sized), ("reads", sized)]
    steps = [("dispatch_seconds", number), ("launch_seconds", number)]
    return {
        "missing": pa.map_(text, text),
        "ceiling": pa.struct([*key, *rates, *steps]),
        "quantiles_seconds_per_call": pa.list_(number),
        "cores": pa.list_(whole),
    }


def _items(value: Any) -> Any:
    """A map as pairs, as pyarrow needs it; a ceiling's dictionary is a struct and stays as it is."""
    is_map = isinstance(value, dict) and "macs_per_second" not in value
    return list(value.items()) if is_map else value

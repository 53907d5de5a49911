"""Parquet: the same rows and columns as CSV, with their types."""

import io

import pandas as pd

from rnnbench.report.export.columns import exported_frame
from rnnbench.report.export.exported import ExportedRun


def render(run: ExportedRun) -> bytes:
    """The bytes of one file; its types do not depend on what is known of the cases."""
    return of_frame(exported_frame(run))


def of_frame(frame: pd.DataFrame) -> bytes:
    """Return a frame as the bytes of a file."""
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pandas(frame, preserve_index=False)
    for index, field in enumerate(table.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_null(kind):  # no row has a text
            empty = pa.array([None] * len(table), pa.string()).dictionary_encode()
            table = table.set_column(index, field.name, empty)
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()

"""A table that was made from a run's windows, kept beside them, so that a large run is reduced only once.

The file can be deleted at any time. It counts only as long as the files of windows are those it was made from: their
names, sizes and times of change are stored in it, and Parquet checks the content of its pages.
"""

import hashlib
import json
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from rnnbench.store.windows import facts_of, window_files
from rnnbench.store.writing import replace

NAME = "visits.parquet"
MADE_FROM = b"rnnbench made this from"  # key of the metadata that says what
FORMAT = 2  # of the table; another number makes older files be made again
MIN_BYTES = 32 << 20  # of windows: fewer are reduced in about a third of a second


def fingerprint(path: Path, cases: Iterable[str]) -> bytes:
    """What a table of this run is made from: its files of windows, and its cases in their order.

    Raises UserError if a file of windows can't be reached.
    """
    facts = {file.name: facts_of(file) for file in window_files(path)}
    files = [(name, known.st_size, known.st_mtime_ns) for name, known in facts.items()]
    keys = hashlib.sha256("\n".join(cases).encode(errors="surrogatepass")).hexdigest()
    return json.dumps({"format": FORMAT, "cases": keys, "files": files}).encode()


def is_worth_keeping(path: Path) -> bool:
    """Whether the run's windows take long to read; raises UserError if a file of them can't be reached."""
    return sum(facts_of(file).st_size for file in window_files(path)) >= MIN_BYTES


def read(path: Path, made_from: bytes) -> pa.Table | None:
    """The table of a run; None if there is none, or if it is torn or was made from other windows."""
    if not (path / NAME).is_file():  # opening a pipe would wait for its writer
        return None
    try:
        table = parquet.read_table(path / NAME, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return None
    return table if (table.schema.metadata or {}).get(MADE_FROM) == made_from else None


def write(path: Path, table: pa.Table, made_from: bytes) -> None:
    """Keep the table, unless the folder can't be written or has a file of this name that is not rnnbench's."""
    file = path / NAME
    if file.exists() and not _is_own(file):
        return
    data = BytesIO()
    parquet.write_table(table.replace_schema_metadata({MADE_FROM: made_from}), data, write_page_checksum=True)
    try:
        replace(file, data.getvalue())
    except OSError:
        return  # a run of somebody else, or on a full disk: it can be read without the table


def _is_own(file: Path) -> bool:
    """Whether rnnbench wrote this file; also true for one that is torn, which begins and ends as no Parquet does."""
    try:
        return file.is_file() and MADE_FROM in (parquet.read_schema(file).metadata or {})
    except (OSError, pa.ArrowException):
        return False

"""Refuse windows that no run can have stored: impossible numbers, and a window that is there twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rnnbench.errors import UserError
from rnnbench.store.records import Window
from rnnbench.store.stored_record import HUGE, parsed, placed

LIMITS: dict[str, tuple[str, Callable[..., Any]]] = {  # of each column, in words, and the comparison with 0
    **dict.fromkeys(("replicate", "order", "cores", "started", "submit_seconds"), ("0 or more", pc.greater_equal)),
    **dict.fromkeys(("pulses", "quiet_pulses", "quiet_blocks"), ("0 or more", pc.greater_equal)),
    **dict.fromkeys(("turns", "calls", "batch", "waits"), ("1 or more", pc.greater)),
    **dict.fromkeys(("seconds", "host_seconds", "quantiles"), ("greater than 0", pc.greater)),
    **dict.fromkeys(("best_pulse", "quiet_seconds", "quiet_low"), ("greater than 0", pc.greater)),
    "sm_clock_mhz": ("greater than 0", pc.greater),
}
OF_PULSES = ("pulses", "quiet_pulses", "best_pulse", "quiet_blocks", "quiet_seconds", "quiet_low")
OPTIONAL = ("submit_seconds", "waits", "sm_clock_mhz", *OF_PULSES)
SAME_WINDOW = ("number", "replicate", "order")  # of one worker


def check_windows(file: Path, lines: bytes, table: pa.Table) -> None:
    """Raise UserError, with the file and the line, for the first window with a wrong value, and for one that is twice.

    `table`: the rows of `lines`, with some columns of `Window` and the `number` of each row's case in place of `case`.
    """
    fault = wrong_value(table)
    if fault is not None:
        raise UserError(f"{file}, line {line_numbers(lines)[fault[0]]}: {fault[1]}")
    repeat = repeated(*(table[name].to_numpy() for name in SAME_WINDOW))
    if repeat is not None:
        numbers = line_numbers(lines)
        first = numbers[repeat[0]]
        second = numbers[repeat[1]]
        raise UserError(
            f"{file}, line {second}: the same window as in line {first}: equal case, replicate and order. Each is "
            "stored once; restore the file, or remove the line"
        )


def wrong_value(table: pa.Table) -> tuple[int, str] | None:
    """Return the first row with an impossible value, and what is wrong; None if all are possible.

    `table`: any columns of `Window`.
    """
    faults = (_wrong_in(name, table[name].combine_chunks()) for name in table.column_names if name in LIMITS)
    return min(filter(None, faults), default=None)


def _wrong_in(name: str, column: pa.Array) -> tuple[int, str] | None:
    """Return the first row with an impossible value in a column, and what is wrong; None if all are possible."""
    words, is_within = LIMITS[name]
    is_list = pa.types.is_list(column.type)
    may_be_empty = name in OPTIONAL
    if is_list and not may_be_empty and 0 in (sizes := column.value_lengths().to_numpy(zero_copy_only=False)):
        return int(np.argmin(sizes)), f"{name}: expected at least one value"
    values = column.flatten() if is_list else column
    fits = pc.and_(is_within(values, 0), pc.less_equal(values, HUGE)).fill_null(may_be_empty)
    if pc.all(fits).as_py() is not False:
        return None
    place = pc.index(fits, value=False).as_py()
    value = values[place].as_py()
    row = pc.list_parent_indices(column)[place].as_py() if is_list else place
    is_finite = value is None or abs(value) <= HUGE
    return row, f"{name}: expected {words if is_finite else 'a finite number'}, found {value}"


def repeated(*keys: np.ndarray) -> tuple[int, int] | None:
    """Return the first two rows that are equal in all keys, the second as early as can be; None if there are none."""
    order = np.lexsort(keys)  # stable: equal rows stay in their order
    is_equal = np.logical_and.reduce([key[order][1:] == key[order][:-1] for key in keys])
    if not is_equal.any():
        return None
    pairs = np.flatnonzero(is_equal)
    earliest = pairs[np.argmin(order[1:][pairs])]
    return int(order[earliest]), int(order[earliest + 1])


def line_numbers(lines: bytes) -> list[int]:
    """Return the numbers of the lines that are not blank."""
    return [number for number, line in enumerate(lines.split(b"\n"), 1) if line.strip()]


def refuse_odd_line(file: Path, lines: bytes) -> None:
    """Raise UserError, with the file and the line, for the first line that is no window; returns if there is none."""
    for number, line in enumerate(lines.split(b"\n"), 1):
        if line.strip():
            with placed(f"{file}, line {number}"):
                Window.from_json(parsed(line))

"""Metrics that follow from what was observed, the time and the machine's ceilings. A formula each, no torch."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.store.ceilings import Ceiling
from rnnbench.store.records import AXES, FUSED_LAYERS, GRAPH_BACKENDS, OPAQUE_BACKENDS, Case

ITEM_BYTES = {"float64": 8, "float32": 4, "tf32": 4, "bfloat16": 2, "float16": 2}
BOUNDS = ("arithmetic", "memory", "steps")  # what can set a limit


def with_derived(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with every derived metric of `rnnbench.store.metrics`, and `bound_by`: what sets the limit.

    Needs the column `ceiling` that `rnnbench.load` gives; without a ceiling, limits are NaN.
    """
    frame = summary.copy()
    rows: list[dict[Any, Any]] = frame.to_dict("records")
    terms = np.array([_terms(row) for row in rows], dtype=np.float64).reshape(-1, len(BOUNDS))
    known = ~np.isnan(terms).any(axis=1)
    frame["limit_seconds"] = np.where(known, np.max(terms, axis=1, initial=0.0), np.nan)
    frame["bound_by"] = np.where(known, np.array(BOUNDS, dtype=object)[np.argmax(np.nan_to_num(terms), axis=1)], "")
    for name, formula in FORMULAS.items():
        frame[name] = formula(frame).astype(float)
    return frame


def break_even_calls(frame: pd.DataFrame) -> "pd.Series[float]":
    """Calls after which compiling pays off: infinite if it never does, NaN if the row is not compiled."""
    own = ["run", *(axis for axis in AXES if axis != "implementation")]
    plain = frame[~frame["implementation"].isin(list(GRAPH_BACKENDS))]
    fastest = frame[own].merge(plain.groupby(own)["seconds"].min().reset_index(), on=own, how="left")["seconds"]
    saved: pd.Series[float] = fastest.to_numpy() - frame["seconds"]
    calls: pd.Series[float] = _number(frame, "compile_seconds") / saved.where(saved > 0, 0.0)
    return calls.where((frame["implementation"] == "compiled") & saved.notna())


FORMULAS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "energy_joules_per_sequence": lambda frame: _number(frame, "energy_joules") / _sequences(frame),
    "break_even_calls": break_even_calls,
    "macs_per_second": lambda frame: _number(frame, "macs") / frame["seconds"],
    "sequences_per_second": lambda frame: _sequences(frame) / frame["seconds"],
    "times_limit": lambda frame: frame["seconds"] / frame["limit_seconds"],
}


def moved_bytes(row: dict[Any, Any]) -> float:
    """The fewest bytes that a call must read or write: all its inputs and outputs, each once; NaN if not known.

    Parameters, the sequence, initial and final states, and the output; in training also the output's gradient and those
    of the parameters; with Adam its two moments and the parameters, read and written. An epoch has a step per batch.
    """
    parameters = row["parameters"]
    if parameters is None or math.isnan(parameters):
        return math.nan
    workload = Case.from_axes(row).workload
    sequences, parameters = workload.sequences, workload.batches * parameters
    states = (2 if workload.reference == "lstm" else 1) * workload.num_layers * workload.directions
    outputs = sequences * workload.output_steps * workload.output_size
    inputs = sequences * workload.input_steps * workload.input_size
    values = parameters + inputs + outputs + 2 * sequences * states * workload.hidden_size
    if workload.phase != "inference":
        values += outputs + parameters
    if workload.phase in ("step", "epoch"):
        values += 5 * parameters
    size: float = ITEM_BYTES[workload.dtype] * values
    return size


def serial_steps(row: dict[Any, Any]) -> int:
    """Operators that must follow one another: one for each step and layer, unless one runs the whole sequence.

    A fused layer is called again for each output that is fed back; a compiled or recorded call runs those steps too.
    """
    workload = Case.from_axes(row).workload
    fed_back = workload.output_steps if workload.task in ("one_to_many", "encoder_decoder") else 0
    read = 0 if workload.task == "one_to_many" else workload.seq_len
    if row["backend"] in FUSED_LAYERS:
        forward = min(read, 1) + fed_back
    else:
        forward = 1 if row["backend"] in OPAQUE_BACKENDS else (read + fed_back) * workload.num_layers
    total = forward * workload.batches
    return total if workload.phase == "inference" else 2 * total


def _sequences(frame: pd.DataFrame) -> Any:
    """The number of sequences that each row's call works on."""
    return frame["samples"].where(frame["samples"] > 0, frame["batch_size"])


def _terms(row: dict[Any, Any]) -> tuple[float, float, float]:
    """The least seconds that each of `BOUNDS` needs."""
    ceiling, size, macs = row["ceiling"], moved_bytes(row), row["macs"]
    if not isinstance(ceiling, Ceiling) or math.isnan(size) or macs is None or math.isnan(macs):
        return math.nan, math.nan, math.nan
    return (
        macs / ceiling.macs_per_second,
        size / ceiling.bytes_per_second(size),
        serial_steps(row) * ceiling.step_seconds,
    )


def _number(frame: pd.DataFrame, column: str) -> "pd.Series[float]":
    """A column as numbers; NaN if a value is missing, or if an older run has no such column."""
    if column not in frame:
        return pd.Series(math.nan, index=frame.index)
    return frame[column].astype(float)

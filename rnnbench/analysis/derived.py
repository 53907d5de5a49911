"""Metrics that follow from what was observed, the time and the machine's ceilings. A formula each, no torch."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.store import ceilings
from rnnbench.store.frames import missing_reasons, missing_text
from rnnbench.store.implementations import COMPILED, GRAPH_BACKENDS, REFERENCES
from rnnbench.store.parity import AGREES, IS_REFERENCE, UNKNOWN, Parity
from rnnbench.store.records import (
    AXES,
    FUSED_LAYERS,
    GATES,
    ITEM_BYTES,
    WORKLOAD_AXES,
    Case,
    Workload,
)

BOUNDS = ("arithmetic", "memory", "weights", "steps")  # what can set a limit
REGISTER_BYTES = 2048  # of a core: weights that may stay in registers from step to step
SAME_EQUATIONS = (AGREES, IS_REFERENCE)  # parity of cases that need the reference's weights in each step
FASTER_SINCE = "the machine ran faster during the run than while its limits were measured"
LESS_WORK = "its reference stays above the limit, so this case may leave out some of the work"


def with_derived(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the summary with every derived metric of `rnnbench.store.metrics`, and `bound_by`: what sets the limit.

    Needs the column `ceiling` of `rnnbench.store.frames`; without a ceiling, limits are NaN.
    """
    frame = summary.copy()
    names = [name for name in (*AXES, "ceiling", "parity", "backend", "parameters", "macs") if name in frame]
    columns = (np.asarray(frame[name], dtype=object) for name in names)
    terms = np.array([_terms(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)], dtype=float)
    terms = terms.reshape(-1, len(BOUNDS))
    are_known = ~np.isnan(terms).any(axis=1)
    frame["limit_seconds"] = np.where(are_known, np.max(terms, axis=1, initial=0.0), np.nan)
    frame["bound_by"] = np.where(are_known, np.array(BOUNDS, dtype=object)[np.argmax(np.nan_to_num(terms), axis=1)], "")
    for name, formula in FORMULAS.items():
        frame[name] = formula(frame).astype(float)
    beaten = frame["times_limit"] < 1
    return _without_limits(frame, beaten) if beaten.any() else frame


def _terms(row: dict[str, Any]) -> tuple[float, ...]:
    """Return the least seconds that each of `BOUNDS` needs; NaN if one is not known."""
    workload = Case.from_axes(row).workload
    ceiling = ceilings.of_text(row["ceiling"])
    macs = row["macs"]
    size = moved_bytes(workload, row["parameters"])
    if ceiling is None or math.isnan(size) or macs is None or math.isnan(macs):
        return (math.nan,) * len(BOUNDS)
    reads, weights = weight_reads(workload, row.get("parity", UNKNOWN))
    return (
        macs / ceiling.macs_per_second,
        size / ceiling.max_bytes_per_second(size),
        reads * max(0.0, weights - ceiling.threads * REGISTER_BYTES) / ceiling.max_reads_per_second(weights),
        serial_steps(workload, row["implementation"], row["backend"]) * ceiling.step_seconds,
    )


def moved_bytes(workload: Workload, parameters: float | None) -> float:
    """Return the fewest bytes that a call must read or write: all its inputs and outputs, each once; NaN if not known.

    Parameters, the sequence, initial and final states, and the output; in training also the output's gradient and those
    of the parameters; with Adam its two moments and the parameters, read and written. An epoch has a step per batch.
    """
    sequences = workload.samples or workload.batch_size
    parameters = workload.batches * (math.nan if parameters is None else parameters)
    states = (2 if workload.reference == "lstm" else 1) * workload.num_layers * workload.directions
    outputs = sequences * workload.output_steps * workload.output_size
    inputs = sequences * workload.input_steps * workload.input_size
    values = parameters + inputs + outputs + 2 * sequences * states * workload.hidden_size
    if workload.phase != "inference":
        values += outputs + parameters
    if workload.phase in ("step", "epoch"):
        values += 5 * parameters
    return float(ITEM_BYTES[workload.dtype] * values)


def weight_reads(workload: Workload, parity: Parity) -> tuple[int, float]:
    """Return how often a call must read the weights of a state, and their bytes: of one layer in one direction.

    Each step of a layer needs all of them, and no step can begin before the one before it has ended. In training,
    backward reads them again, but for the first step, whose state is given. (0, 0) for a case whose equations are not
    those of its reference.
    """
    if parity not in SAME_EQUATIONS or workload.reference not in GATES:
        return 0, 0.0
    steps = sum(_steps(workload))
    reads = steps if workload.phase == "inference" else 2 * steps - 1
    size: float = ITEM_BYTES[workload.dtype] * GATES[workload.reference] * workload.hidden_size**2
    return reads * workload.num_layers * workload.directions * workload.batches, size


def serial_steps(workload: Workload, implementation: str, backend: str) -> int:
    """Count the operators that must follow one another: one for each step and layer, unless one runs the sequence.

    A fused layer is called again for each output that is fed back; a compiled or recorded call runs those steps too.
    """
    read, fed_back = _steps(workload)
    if backend.partition(",")[0] in FUSED_LAYERS:
        forward = min(read, 1) + fed_back
    else:
        forward = 1 if implementation in GRAPH_BACKENDS else (read + fed_back) * workload.num_layers
    total = forward * workload.batches
    return total if workload.phase == "inference" else 2 * total


def _steps(workload: Workload) -> tuple[int, int]:
    """Count the steps of a layer, one after another: those that read the sequence, and those that are fed an output."""
    read = 0 if workload.task == "one_to_many" else workload.seq_len
    return read, workload.output_steps if workload.task in ("one_to_many", "encoder_decoder") else 0


def break_even_calls(frame: pd.DataFrame) -> "pd.Series[float]":
    """Return the calls after which compiling pays off: infinite if it never does, NaN if the row is not compiled."""
    keys = ["run", *(axis for axis in AXES if axis != "implementation")]
    plain = frame[~frame["implementation"].isin(list(GRAPH_BACKENDS))]
    fastest = frame[keys].merge(plain.groupby(keys)["seconds"].min().reset_index(), on=keys, how="left")["seconds"]
    saved: pd.Series[float] = fastest.to_numpy() - frame["seconds"]
    calls: pd.Series[float] = _number(frame, "compile_seconds") / saved.where(saved > 0, 0.0)
    return calls.where(frame["implementation"].isin(COMPILED) & saved.notna())


FORMULAS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "energy_joules_per_sequence": lambda frame: _number(frame, "energy_joules") / _sequences(frame),
    "break_even_calls": break_even_calls,
    "macs_per_second": lambda frame: _number(frame, "macs") / frame["seconds"],
    "sequences_per_second": lambda frame: _sequences(frame) / frame["seconds"],
    "times_limit": lambda frame: frame["seconds"] / frame["limit_seconds"],
}


def _sequences(frame: pd.DataFrame) -> Any:
    """Return the number of sequences that each row's call works on."""
    return frame["samples"].where(frame["samples"] > 0, frame["batch_size"])


def _number(frame: pd.DataFrame, column: str) -> "pd.Series[float]":
    """Return a column as numbers; NaN if a value, or the column, is missing."""
    return frame.reindex(columns=[column])[column].astype(float)


def _without_limits(frame: pd.DataFrame, beaten: "pd.Series[bool]") -> pd.DataFrame:
    """Return the frame without the limits that a case has beaten: they are wrong, and `missing` says so."""
    by_reference = beaten & frame["implementation"].isin(REFERENCES)
    keys = [frame[name] for name in ("run", *WORKLOAD_AXES)]
    is_faster = by_reference.groupby(keys).transform("any")
    missing = [*frame.reindex(columns=["missing"], fill_value="")["missing"]]
    for index in np.flatnonzero(beaten):
        cause = FASTER_SINCE if is_faster.iloc[index] else LESS_WORK
        times = frame["times_limit"].iloc[index]
        why = f"the call took {times:.2f} of its limit, so the limit is wrong: {cause}"
        missing[index] = missing_text(missing_reasons(missing[index]) | {"limit_seconds": why, "times_limit": why})
    frame["missing"] = pd.Series(missing, index=frame.index, dtype=str)
    frame.loc[beaten, ["limit_seconds", "times_limit"]] = math.nan
    frame.loc[beaten, "bound_by"] = ""
    return frame


def explaining(cases: pd.DataFrame, within: Sequence[str], axes: Sequence[str]) -> str | None:
    """Return the axis with the highest of `explained_shares`, the first one if there are none; None without axes."""
    shares = explained_shares(cases, within, axes)
    return max(axes, key=lambda axis: shares.get(axis, -math.inf), default=None)


def explained_shares(cases: pd.DataFrame, within: Sequence[str], axes: Sequence[str]) -> dict[str, float]:
    """Return by axis the share of the variance of log ratios within groups that its values explain.

    `cases` needs the columns `ratio` (above 0), `within` and `axes`. A share is adjusted for the number of values, as
    adjusted R squared is, so that an axis of many values gains nothing by chance. An axis that can't be told apart from
    chance, as with one case for each value, has none.
    """
    logs = np.log(cases["ratio"])
    keys = [cases[column] for column in within]
    shares = dict[str, float]()
    plain = logs.groupby(keys)
    variance = (logs - plain.transform("mean")).pow(2).sum() / max(len(cases) - plain.ngroups, 1)
    for axis in axes:
        by_axis = logs.groupby([*keys, cases[axis]])
        if variance > 0 and (free := len(cases) - by_axis.ngroups) > 0:
            shares[axis] = float(1 - (logs - by_axis.transform("mean")).pow(2).sum() / free / variance)
    return shares

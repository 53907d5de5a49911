"""What was measured of a way at a shape, and how far two shapes are apart."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from rnnbench.harness.fastest.ways import WayName


@dataclass(frozen=True)
class CallShape:
    """What the choice of a way depends on."""

    seq_len: int
    batch_size: int
    input_size: int  # of all values of a step together; 1 for whole numbers
    trains: bool  # whether gradients are computed
    dtype: str  # `float32`, or `float32, autocast to bfloat16`
    device: str
    threads: int

    @classmethod
    def of(cls, input: Tensor, *, trains: bool) -> "CallShape":
        """The shape of a call; `input`: (seq, batch, ...)."""
        steps, batch, *features = input.shape
        dtype, kind = str(input.dtype).removeprefix("torch."), input.device.type
        if torch.is_autocast_enabled(kind):
            dtype += f", autocast to {torch.get_autocast_dtype(kind)}".replace("torch.", "")
        return cls(steps, batch, math.prod(features), trains, dtype, str(input.device), torch.get_num_threads())

    def distance(self, other: "CallShape") -> float:
        """How far two shapes are apart, in factors of two; infinite if one tells nothing about the other."""
        if (self.trains, self.dtype, self.device, self.input_size) != (
            other.trains,
            other.dtype,
            other.device,
            other.input_size,
        ):
            return math.inf
        sizes = ((self.batch_size, other.batch_size), (self.seq_len, other.seq_len), (self.threads, other.threads))
        if not all(mine and theirs for mine, theirs in sizes):
            return math.inf
        return sum(abs(math.log2(mine / theirs)) for mine, theirs in sizes)


@dataclass(frozen=True)
class TimedWay:
    """One way at one shape."""

    shape: CallShape
    way: WayName
    seconds: float = math.nan  # per call; NaN if it was not timed
    ratio: float = math.nan  # to the time of the module as given, with a 95% interval
    ratio_low: float = math.nan
    ratio_high: float = math.nan
    rounds: int = 0
    is_chosen: bool = False
    is_sure: bool = True  # if it is chosen: whether no other way is faster by more than 1%
    reason: str = ""  # why it is not used, if it could not be


# What a row must have to say which way runs a shape.
KEYS = ("seq_len", "batch_size", "input_size", "dtype", "device", "threads", "phase", "way")


def row(timed: TimedWay) -> dict[str, Any]:
    """One row of the table of what was measured."""
    columns = asdict(timed)
    shape = columns.pop("shape")
    shape["phase"] = "training" if shape.pop("trains") else "inference"
    return {**shape, **columns}


def from_rows(rows: Iterable[Mapping[str, Any]]) -> list[TimedWay]:
    """Choices from rows with `KEYS`; rows that say that they are not chosen are left out.

    Raises ValueError if a key is missing or a way is not known.
    """
    chosen = []
    for known in rows:
        if missing := [key for key in KEYS if key not in known]:
            raise ValueError(f"ways: a row has no {missing[0]!r}; it needs {', '.join(KEYS)}")
        if known["way"] not in get_args(WayName):
            raise ValueError(f"ways: {known['way']!r} is not a way; expected one of {', '.join(get_args(WayName))}")
        if known.get("is_chosen", True):
            sizes = {key: known[key] for key in KEYS if key not in ("phase", "way")}
            shape = CallShape(**sizes, trains=known["phase"] == "training")
            chosen.append(TimedWay(shape, known["way"], is_chosen=True))
    return chosen

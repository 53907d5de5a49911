"""The axes of a workload in words, and which of them a run varies."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pandas as pd

from rnnbench.report.words.reference import is_reference
from rnnbench.store.records import DEFAULTS, OF_DATA, OF_STEP
from rnnbench.suite import expressions
from rnnbench.text import plural

WORDS = {axis: word for word, axis in expressions.WORDS.items()} | {
    "input_size": "input",
    "output_len": "decoded length",
}
SIZES = ("batch_size", "seq_len", "input_size", "hidden_size", "output_size", "num_layers", *OF_DATA)
SETTINGS = (
    "device",
    "dtype",
    "threads",
    "task",
    "output_len",
    "bidirectional",
    "dropout",
    "lengths",
    "input",
    "nonlinearity",
    "head",
    "caches",
    *OF_STEP,
)
COUNTED = ("num_layers", "threads", *OF_DATA)  # written as `3 layers`
OF_MODELS = ("hidden_size", "num_layers")  # a data set has neither
CONTEXT = ("device", "dtype", "workers")  # never pooled: a median over CPU and GPU would describe neither


SAID: dict[str, Callable[[Any], str]] = {
    "output_len": lambda value: f"decoded length {value}" if value else "decoded as long as read",
    "bidirectional": lambda value: "two directions" if value else "one direction",
    "dropout": lambda value: f"dropout {value:g}" if value else "no dropout",
    "lengths": lambda value: f"{one_line(value)} lengths",
    "input": str,
    "nonlinearity": str,
    "head": lambda value: f"{one_line(value)} head",
    "caches": lambda value: f"{one_line(value)} caches",
    "optimizer": str,
    "loss": lambda value: f"loss {one_line(value)}",
    "clip": lambda value: f"gradients clipped at {value:g}" if value else "gradients not clipped",
}


def word(axis: str) -> str:
    """The name of an axis in headings."""
    return WORDS.get(axis, axis)


def say(axis: str, value: Any) -> str:
    """An axis and its value in running text: `batch 32`, `3 layers`, `float32`."""
    if axis in SAID:
        return SAID[axis](value)
    if axis in COUNTED:
        return plural(int(value), word(axis).removesuffix("s"))
    return f"{word(axis)} {value}" if axis in SIZES else one_line(value)


def say_all(axes: Iterable[Hashable], values: Iterable[Any]) -> str:
    """Several axes in running text: `batch 32, length 16`. Axes in `SAID` are left out at their default value."""
    pairs = [(str(axis), value) for axis, value in zip(axes, values, strict=True)]
    return ", ".join(say(axis, value) for axis, value in pairs if axis not in SAID or value != DEFAULTS[axis])


def several(summary: pd.DataFrame, axes: Iterable[str]) -> list[str]:
    """The axes with more than one value in the run."""
    return [axis for axis in axes if summary[axis].nunique() > 1]


def swept(summary: pd.DataFrame, axes: Iterable[str]) -> list[str]:
    """The axes with more than one value for at least one cell.

    If `deep` has three layers and `vanilla` one, the number of layers belongs to the cell and is not swept.
    """
    own = summary[~is_reference(summary)]
    cells = (own if len(own) else summary).groupby("cell", sort=False)
    return [axis for axis in axes if len(summary) and cells[axis].nunique().max() > 1]


def constants(summary: pd.DataFrame) -> str:
    """The axes with a single value in the run, in running text."""
    without = (
        *(OF_MODELS if set(summary["phase"]) == {"loading"} else ()),
        *(() if summary["samples"].any() else OF_DATA),
    )
    still = [axis for axis in (*SIZES, *SETTINGS) if axis not in without and summary[axis].nunique() == 1]
    return say_all(still, (summary[axis].iloc[0] for axis in still))


def flushed(summary: pd.DataFrame) -> str:
    """The label for every figure of a run in which all calls start with cold caches; empty for other runs."""
    return "caches flushed before every call" if len(summary) and summary["caches"].eq("cold").all() else ""


def one_line(value: object) -> str:
    """A value from outside as one line of printable characters, so that it can't move a cursor or break a row."""
    text = str(value)
    if text.isprintable() and "  " not in text and text == text.strip():
        return text  # true of nearly all
    return "".join(letter if letter.isprintable() else "�" for letter in " ".join(text.split()))

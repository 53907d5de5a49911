"""The axes of sweeps: their usual values, and what is wrong with a value of a suite's file."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnbench.cells import CELLS, file_of, is_own, misnamed, with_arguments
from rnnbench.store.records import AXES, DATA_SETS, is_cell_reference
from rnnbench.text import nearest

INPUT_PATTERN = r"^(features|tokens:[1-9][0-9]{0,8}|frames:[1-9][0-9]{0,3}(x[1-9][0-9]{0,3}){0,3})$"
INPUTS_ALLOWED = "expected features, tokens:N (such as tokens:100) or frames:CxHxW (such as frames:3x8x8)"
DATA_SET_VALUES = {  # the values of axes that only data sets have
    "cell": tuple(DATA_SETS),
    "phase": ("loading",),
    "implementation": ("per_item", "vectorised"),
}
USUAL_VALUES: dict[str, tuple[Any, ...]] = {  # the values of an axis that a sweep does not name
    "implementation": ("loop", "torch.nn"),
    "phase": ("inference",),
    "task": ("many_to_many",),
    "batch_size": (32,),
    "seq_len": (32,),
    "input_size": (64,),
    "hidden_size": (128,),
    "output_size": (10,),
    "num_layers": (1,),
    "dtype": ("float32",),
    "device": ("cpu",),
    "threads": (1,),
    "output_len": (0,),
    "bidirectional": (False,),
    "dropout": (0.0,),
    "lengths": ("equal",),
    "input": ("features",),
    "nonlinearity": ("tanh",),
    "head": ("linear",),
    "caches": ("warm",),
    "optimizer": ("adam",),
    "loss": ("none",),
    "clip": (0.0,),
    "samples": (1024,),
    "workers": (0,),
}


def as_list(value: object) -> Sequence[object]:
    """Return the value itself if it is a list, else a list of it."""
    return value if isinstance(value, list | tuple) else [value]


def wrong_cell(cell: str, root: Path | None) -> str:
    """Say what is wrong with the name of a cell; empty if nothing is.

    `root`: the folder in which the file of a user's cell must be; None: it may be anywhere. Raises ValueError if its
    arguments can't be read.
    """
    if is_own(cell):
        file = file_of(cell)
        if words := misnamed(cell):
            return words
        if root is not None and file.endswith(".py") and not (root / file).is_file():
            return f"no file {root / file}"
        return ""
    if cell in (*CELLS, *DATA_SETS):
        return ""
    choices = f"there are {', '.join(CELLS)}, or your own as FILE:CLASS, and the data sets {', '.join(DATA_SETS)}"
    return f"no such cell{nearest(cell, (*CELLS, *DATA_SETS))}; {choices}"


def wrong_reference(reference: str, root: Path | None) -> str:
    """Say what is wrong with a reference, which is a layer of torch.nn or a cell; empty if nothing is."""
    if is_own(reference):
        return wrong_cell(reference, root)
    if not is_cell_reference(reference) or reference in CELLS:
        return ""
    return (
        f"expected one of rnn, lstm, gru, none, or a cell{nearest(reference, ('rnn', 'lstm', 'gru', 'none', *CELLS))}"
    )


def wrong_name(value: str, names: Sequence[str]) -> str:
    """Say that a value is neither one of these names nor a user's own function; empty if it is either."""
    if value in names or is_own(value):
        return ""
    return f"expected one of {', '.join(names)}, or FILE:FUNCTION{nearest(value, names)}"


def wrong_argument(value: object) -> str:
    """Say that a constructor can't be given a value; empty if it can."""
    is_plain = isinstance(value, bool | int | float | str)
    is_endless = isinstance(value, float) and not math.isfinite(value)
    return "" if is_plain and not is_endless else "expected a finite number, a text, true or false for a constructor"


def wrong_argument_name(name: str) -> str:
    """Say what is wrong with the name of an argument; empty if nothing is."""
    if name in AXES:
        return f"{name} is an axis: write {name} = ..."
    return "" if name.isidentifier() else "expected a name of Python"


def misfit(axes: Mapping[str, Sequence[Any]], arguments: Mapping[str, Any]) -> str:
    """Say which values of a sweep do not fit together; empty if all do.

    Data sets can't stand beside cells: that would load a cell or train a data set. Only a user's own cells take
    arguments. `axes`: the values of each axis.
    """
    values = [(axis, value) for axis in DATA_SET_VALUES for value in axes[axis]]
    others = [(axis, value) for axis, value in values if value not in DATA_SET_VALUES[axis]]
    if 0 < len(others) < len(values):
        axis, value = others[0]
        expected = ", ".join(DATA_SET_VALUES[axis])
        return f"{axis} {value!r} can't be swept with data sets, which need {axis} = {expected}"
    shipped = next((cell for cell in axes["cell"] if not is_own(cell)), None)
    return f"{shipped} takes no arguments; only cells of your own do (FILE:CLASS)" if arguments and shipped else ""


def cells_with(cells: Sequence[str], arguments: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the cells, each with every combination of the arguments of its constructor."""
    names = list(arguments)
    combinations = [dict(zip(names, values, strict=True)) for values in itertools.product(*arguments.values())]
    return [with_arguments(cell, each) if each else cell for cell in cells for each in combinations]

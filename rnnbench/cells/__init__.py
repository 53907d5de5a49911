"""The cells that are measured, what the names of users' cells mean, and how they are imported.

Reading this does not import torch; `load` does.

To add a cell, write a file beside this one and a line in `CELLS`. A user's cell is `lmu.py:LMU(theta=16)` or
`package.module:Class`.
"""

import ast
import importlib
import importlib.util
import os
import re
import sys
import traceback
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from rnnbench.store.records import TORCH_OWN, Reference
from rnnbench.text import error_in_words, first_line, line_of

if TYPE_CHECKING:
    from torch import nn

CALL = re.compile(r"(?P<target>.*:[^:()]+)\((?P<arguments>.*)\)", re.DOTALL)  # file.py:Class(theta=16)
USER_MODULE = "rnnbench_user_"  # begins the names of modules that are imported from a file


class CellError(ValueError):
    """A user's own class is wrong; the message says in one line how, and what would be right."""


class CellMissing(CellError):
    """A cell's module can't be imported, or has no such class; `file`: the module that lacks it, if it is imported."""

    def __init__(self, message: str, file: str = "") -> None:
        super().__init__(message)
        self.file = file


def is_own(cell: str) -> bool:
    """Return whether a name points at a class of a user, such as `file.py:Class`, and not at a cell of rnnbench."""
    return ":" in cell


def parsed(cell: str) -> tuple[str, dict[str, Any]]:
    """Return the target of a user's cell and the arguments of its constructor: `lmu.py:LMU(theta=16,norm=True)`.

    Raises ValueError if the arguments are not literals of Python, each with its name.
    """
    call = CALL.fullmatch(cell)
    if call is None:
        return cell, {}
    try:
        node = ast.parse(f"f({call['arguments']})", mode="eval").body
        assert isinstance(node, ast.Call)
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ValueError
        arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (ValueError, SyntaxError, AssertionError, MemoryError, RecursionError):
        raise ValueError(f"({call['arguments']}) is not a list of NAME=VALUE, such as (theta=16,norm=True)") from None
    return call["target"], arguments


def misnamed(cell: str) -> str:
    """Return what is wrong with the form of a user's cell name; empty if nothing is. Raises ValueError as `parsed`."""
    where, _, name = parsed(cell)[0].rpartition(":")
    is_file = where.endswith(".py")
    if name.isidentifier() and (is_file or all(part.isidentifier() for part in where.split("."))):
        return ""
    like = f" (did you mean {where}.py:{name}?)" if name and not is_file and os.sep in where else ""
    return f"expected FILE.py:CELL or PACKAGE:CELL{like}"


def with_arguments(cell: str, arguments: Mapping[str, Any]) -> str:
    """Return the name of a cell with these arguments, after those that it has."""
    target, present = parsed(cell)
    all_arguments = {**present, **arguments}
    texts = (f"{name}={value!r}" for name, value in all_arguments.items())
    return f"{target}({','.join(texts)})" if all_arguments else target


def file_of(cell: str) -> str:
    """Return the file or the module of a user's cell, as its name writes it."""
    return parsed(cell)[0].rpartition(":")[0]


@dataclass(frozen=True)
class CellSpec:
    """Where a cell's class is, which torch.nn layer it is timed against, and what may be expected of it."""

    target: str  # package.module:ClassName, or path/to/file.py:ClassName
    reference: Reference
    about: str
    stacked: bool = False  # takes num_layers, and a tuple with a state for each layer
    unequal: str = ""  # why its outputs can't be compared with the reference's; empty if they can
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of its constructor, beside the sizes


def _other(target: str, nearest: Reference, about: str) -> CellSpec:
    """Return a cell that is timed against the layer of torch.nn that is nearest to it, and computes something else."""
    layer = TORCH_OWN["torch.nn"][nearest]
    return CellSpec(f"rnnbench.cells.modern.{target}", nearest, about, unequal=f"another recurrence than {layer}")


CELLS: dict[str, CellSpec] = {
    "vanilla": CellSpec("rnnbench.cells.vanilla:VanillaCell", "rnn", "Elman cell, input and state weighted apart"),
    "combined": CellSpec("rnnbench.cells.combined:CombinedCell", "rnn", "Elman cell, one weight over [input; state]"),
    "deep": CellSpec("rnnbench.cells.deep:DeepCell", "rnn", "combined cells, stacked", stacked=True),
    "deep-notebook": CellSpec(
        "rnnbench.cells.deep:DeepNotebookCell",
        "rnn",
        "the tutorial's stack, which feeds a layer the state of the layer below",
        stacked=True,
        unequal="layer l reads layer l-1's state, so it is another function than torch.nn.RNN",
    ),
    "lstm": CellSpec("rnnbench.cells.lstm:LSTMCell", "lstm", "long short-term memory"),
    "gru": CellSpec("rnnbench.cells.gru:GRUCell", "gru", "gated recurrent unit"),
    "min_gru": _other("min_gru:MinGRUCell", "gru", "minimal GRU: gates see only the input, so it can be scanned"),
    "min_lstm": _other("min_lstm:MinLSTMCell", "lstm", "minimal LSTM: gates see only the input; it can be scanned"),
    "s_lstm": _other("s_lstm:SLSTMCell", "lstm", "sLSTM of xLSTM: exponential gates, normalised"),
    "lstm_layer_norm": _other("lstm_layer_norm:LSTMLayerNormCell", "lstm", "LSTM with layer normalisation"),
    "lstm_peephole": _other("lstm_peephole:LSTMPeepholeCell", "lstm", "LSTM whose gates see the cell's state"),
    "ind_rnn": _other("ind_rnn:IndRNNCell", "rnn", "IndRNN: each unit sees only its own state"),
    "ugrnn": _other("ugrnn:UGRNNCell", "gru", "update gate network: a GRU with one gate"),
    "lmu": _other("lmu:LMUCell", "lstm", "Legendre memory unit"),
    "diagonal": _other("diagonal:DiagonalCell", "rnn", "diagonal linear recurrence, as LRU and S4D; it can be scanned"),
}


def spec(cell: str, reference: Reference) -> CellSpec:
    """Return the spec of a registered cell, of torch's own, or of a user's class, timed against `reference`."""
    if cell.startswith("torch.nn."):
        return CellSpec(cell.replace(".nn.", ".nn:"), reference, "torch's own")
    if is_own(cell):
        target, arguments = parsed(cell)
        return CellSpec(target, reference, "the user's own", arguments=arguments)
    return CELLS[cell]


def load(target: str, root: Path) -> Callable[..., "nn.Module"]:
    """Import what `target` names: a class, or a function that builds a module.

    A file's path is relative to `root`, the folder of the suite. Raises CellMissing if the module can't be imported, or
    has nothing of that name that can build a torch module.
    """
    from torch import nn

    cell_class = load_function(target, root)
    is_function = isinstance(cell_class, FunctionType)
    if not is_function and (not isinstance(cell_class, type) or not issubclass(cell_class, nn.Module)):
        where, _, name = target.rpartition(":")
        file = getattr(sys.modules.get(getattr(cell_class, "__module__", "")), "__file__", None)
        text = f"{where}: {name} is not a subclass of torch.nn.Module, nor a function that builds one"
        raise CellMissing(text, str(file or ""))
    return cell_class


def load_function(target: str, root: Path) -> Callable[..., Any]:
    """Import a function or a class by its name, as `load` does; raises CellMissing if it is not there."""
    where, _, name = target.rpartition(":")
    try:
        module = _from_file((root / where).resolve()) if where.endswith(".py") else importlib.import_module(where)
    except (Exception, SystemExit) as error:  # whatever the user's file does when it is run
        frame = traceback.extract_tb(error.__traceback__)[-1]
        is_in_users_file = not frame.filename.startswith("<") and frame.filename != __file__  # else Python raised it
        message = f"{error_in_words(error)}{line_of(frame) if is_in_users_file else ''}"
        is_relative = where.endswith(".py") and "relative import" in first_line(error)
        hint = f"; name a file of a package as PACKAGE.MODULE:{name}" if is_relative else ""
        raise CellMissing(f"{where} can't be imported: {message}{hint}") from error
    member: Any = getattr(module, name, None)
    if member is None:
        names = [each for each, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        like = get_close_matches(name, vars(module), n=1)
        hint = f"did you mean {like[0]}?" if like else f"it has {', '.join(names) or 'none'}"
        raise CellMissing(f"{where} has no class or function {name}; {hint}", str(module.__file__ or ""))
    if not callable(member):
        raise CellMissing(f"{where}: {name} is {type(member).__name__}; expected a function")
    function: Callable[..., Any] = member
    return function


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"no Python file {path}")
    # Python looks up a class's module by name, so files with one name in two folders need two module names.
    name = f"{USER_MODULE}{path.stem}_{zlib.crc32(os.fsencode(path)):08x}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None  # a .py file has a loader
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    module_spec.loader.exec_module(module)
    return module

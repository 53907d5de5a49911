"""The torch functions that a call's code calls, how values flow between them, and the lines that call them.

The functions become operators (`operators.py`). Causes are found at this level because the author can change it.
"""

import linecache
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from rnnbench.cells.states import storage_address
from rnnbench.harness.live.arms import tensors_in

MAX_CALLS = 20_000  # of torch functions; their tensors are held while the program is examined
TORCH = str(Path(torch.__file__).parent)
OURS = str(Path(__file__).parents[1])

Storage = int  # the address: all tensors of a call are held, so no address is used twice


class TooLong(Exception):
    """The call makes more function calls than can be recorded."""


@dataclass(frozen=True)
class ProgramCall:
    """One call of a torch function."""

    ordinal: int
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    where: str  # `my_cell.py:31`
    written: bool = field(default=False)  # it writes into its first argument, or into `out`

    @property
    def name(self) -> str:
        """The function's name, such as `linear`; for an operator, the name of its function, such as `matmul`."""
        plain = str(getattr(self.function, "__name__", self.function))
        return plain.strip("_") if plain.startswith("__") else plain

    @property
    def reads(self) -> set[Storage]:
        """Storages of all tensors in the arguments."""
        return storages((self.args, self.kwargs))

    @property
    def writes(self) -> set[Storage]:
        """Storages of the result, and of the tensors that the call writes into."""
        into = storages((self.args[:1], self.kwargs.get("out"))) if self.written else set()
        return storages(self.result) | into


class ProgramRecorder(TorchFunctionMode):
    """Records the torch functions that are called while this mode is active."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[ProgramCall] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make a call and record it; raises TooLong."""
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        ordinal = len(self.calls)
        if ordinal == MAX_CALLS:
            raise TooLong(f"it calls more than {MAX_CALLS:,} torch functions")
        self.calls.append(ProgramCall(ordinal, function, args, kwargs, result, _where(), _writes(function, kwargs)))
        return result


@dataclass(frozen=True)
class Program:
    """A recorded program, up to the start of backward."""

    calls: tuple[ProgramCall, ...]
    returned: object  # the returned value, or the tensor that backward starts from
    hidden: frozenset[Storage]  # of tensors of unknown origin: from scripted code or a custom autograd function
    backward: ProgramCall | None = None


def record(call: Callable[[], object]) -> Program:
    """Record a call twice, in the current modes; raises TooLong, and any error of the call.

    A tensor that is read but that no recorded call made is a parameter or constant if both recordings read it: the
    tensors of the first are still held during the second. Otherwise it was made where it can't be recorded.
    """
    first, *_ = _forward(call)
    second, returned, backward = _forward(call)
    known = _unmade(first) & _unmade(second)
    return Program(tuple(second), returned, frozenset(_unmade(second) - known), backward)


def _forward(call: Callable[[], object]) -> tuple[list[ProgramCall], object, ProgramCall | None]:
    """Record a call up to its backward: its functions, what `Program.returned` is, and the call of backward."""
    with ProgramRecorder() as recorder:
        returned = call()
    for index, recorded in enumerate(recorder.calls):
        if recorded.name == "backward":
            return recorder.calls[:index], recorded.args[0], recorded
    return recorder.calls, returned, None


def _unmade(calls: Iterable[ProgramCall]) -> set[Storage]:
    """Storages that are read and that no earlier call has made."""
    made, unmade = set[Storage](), set[Storage]()
    for call in calls:
        unmade |= call.reads - made
        made |= call.writes
    return unmade


def storages(value: object) -> set[Storage]:
    """Storage addresses of all tensors in nested tuples, lists and mappings; an empty tensor has none."""
    return {address for tensor in tensors_in(value) if (address := storage_address(tensor))}


def made_from(
    program: Program, sources: Iterable[ProgramCall], unknown: Iterable[Storage] = ()
) -> Iterator[ProgramCall]:
    """The calls with an argument that is made from an earlier result of `sources`, or from one of `unknown`."""
    among, tainted = {call.ordinal for call in sources}, set(unknown)
    for call in program.calls:
        is_tainted = bool(call.reads & tainted)
        if is_tainted:
            yield call
        if is_tainted or call.ordinal in among:
            tainted |= call.writes


def depending_on_earlier(program: Program, sources: Iterable[ProgramCall]) -> Iterator[ProgramCall]:
    """The `sources` whose arguments depend on the result of an earlier source, or on tensors of unknown origin."""
    among = {call.ordinal for call in sources}
    return (call for call in made_from(program, sources, program.hidden) if call.ordinal in among)


def _writes(function: Any, kwargs: dict[str, Any]) -> bool:
    """Whether a function writes into its first argument, or into `out`, to judge by its name."""
    name = str(getattr(function, "__name__", ""))
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name == "__setitem__" or name.startswith("__i") or kwargs.get("out") is not None


def _is_of_notebook(file: str) -> bool:
    """Whether code is of a notebook's cell, whose file has a name that tells a reader nothing."""
    return file.startswith("<ipython-input-") or Path(file).parent.name.startswith("ipykernel_")


def _where() -> str:
    """The innermost line of code that belongs neither to torch nor to rnnbench's harness; a notebook's is quoted."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if _is_of_notebook(file):
            return f"`{linecache.getline(file, frame.f_lineno).strip()}`:{frame.f_lineno}"
        if not file.startswith((TORCH, OURS, "<")):
            return f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""

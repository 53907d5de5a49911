"""What a call does as its code says it: the torch functions that it calls, what flows from one into another, and where.

Operators (`tape`) are what these end up as; causes are found here, since this is what its author can change.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from rnnbench.harness.live.arms import tensors

MAX_CALLS = 20_000  # of torch functions whose tensors are held while the program is looked at
TORCH = str(Path(torch.__file__).parent)
OURS = str(Path(__file__).parents[1])

Storage = int  # its address: all tensors of a call are held, so no address comes twice


class TooLong(Exception):
    """The call has more functions than are looked at."""


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
        """`linear`, `clone`; operators by the function that they stand for: `add`, `matmul`."""
        plain = str(getattr(self.function, "__name__", self.function))
        return plain.strip("_") if plain.startswith("__") else plain

    @property
    def reads(self) -> set[Storage]:
        """Storages of all tensors that it is given."""
        return storages((self.args, self.kwargs))

    @property
    def writes(self) -> set[Storage]:
        """Storages of what it gives, and of what it writes into."""
        into = storages((self.args[:1], self.kwargs.get("out"))) if self.written else set()
        return storages(self.result) | into


class Program(TorchFunctionMode):
    """Records while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[ProgramCall] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make a call and note it; raises TooLong."""
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        ordinal = len(self.calls)
        if ordinal == MAX_CALLS:
            raise TooLong(f"it calls more than {MAX_CALLS:,} torch functions")
        self.calls.append(ProgramCall(ordinal, function, args, kwargs, result, _where(), _writes(function, kwargs)))
        return result


@dataclass(frozen=True)
class Watched:
    """A program that was recorded, up to where backward begins."""

    calls: tuple[ProgramCall, ...]
    returned: object  # what it gave, or what its backward begins at
    hidden: frozenset[Storage]  # of tensors that come from nowhere: scripted code, an autograd function of one's own
    backward: ProgramCall | None = None


def watch(call: Callable[[], object]) -> Watched:
    """Record a call twice, in the modes of the moment; raises TooLong, and whatever the call raises.

    What is read and was made by nothing is a parameter or constant if it is there in both, for the first's tensors
    are still held while the second is recorded; else it was made where nobody can look.
    """
    first, *_ = _forward(call)
    second, returned, backward = _forward(call)
    known = _unmade(first) & _unmade(second)
    return Watched(tuple(second), returned, frozenset(_unmade(second) - known), backward)


def _forward(call: Callable[[], object]) -> tuple[list[ProgramCall], object, ProgramCall | None]:
    with Program() as program:
        returned = call()
    for place, one in enumerate(program.calls):
        if one.name == "backward":
            return program.calls[:place], one.args[0], one
    return program.calls, returned, None


def _unmade(calls: Iterable[ProgramCall]) -> set[Storage]:
    made, found = set[Storage](), set[Storage]()
    for call in calls:
        found |= call.reads - made
        made |= call.writes
    return found


def storages(value: object) -> set[Storage]:
    """Addresses of the storages of all tensors in nested tuples, lists and mappings; empty ones have none."""
    return {address for tensor in tensors(value) if (address := tensor.untyped_storage().data_ptr())}


def reached(watched: Watched, sources: Iterable[ProgramCall]) -> Iterator[ProgramCall]:
    """Those of `sources` whose arguments follow from the result of an earlier one, or from who knows what."""
    among, tainted = {call.ordinal for call in sources}, set(watched.hidden)
    for call in watched.calls:
        is_tainted = bool(call.reads & tainted)
        if is_tainted and call.ordinal in among:
            yield call
        if is_tainted or call.ordinal in among:
            tainted |= call.writes


def _writes(function: Any, kwargs: dict[str, Any]) -> bool:
    name = str(getattr(function, "__name__", ""))
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name == "__setitem__" or name.startswith("__i") or kwargs.get("out") is not None


def _where() -> str:
    """The innermost line that is neither torch's nor of what watches."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((TORCH, OURS, "<")):
            return f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""

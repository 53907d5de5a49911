"""A call as a program: the torch functions that it calls, and how values flow between them.

The functions become operators (`operators.py`). Causes are found at this level because the author can change it: how
values flow between the functions, and the lines that call them.
"""

import linecache
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from traceback import walk_stack
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from rnnbench.cells.states import dense_parts, storage_address
from rnnbench.harness.live.live_cases import tensors_in

MAX_PROGRAM_CALLS = 20_000  # of torch functions; their tensors are held while the program is examined
TORCH_FOLDER = str(Path(torch.__file__).parent)
OUR_FOLDERS = tuple(str(Path(__file__).parents[1] / room) for room in ("harness", "profiling"))
# Functions that multiply rows with a weight -> the index of the argument that holds the rows.
PRODUCT_CALLS = {"linear": 0, "matmul": 0, "mm": 0, "addmm": 1}
CELL_CLASSES = ("rnn_tanh_cell", "rnn_relu_cell", "lstm_cell", "gru_cell")  # one step of torch's own cells
FIRST_WEIGHT = 2  # index among the arguments of a cell
IN_PLACE = re.compile(r".+_|setitem|i(add|sub|mul|truediv|floordiv|mod|pow|and|or|xor|lshift|rshift)")
CONTEXTS = ("_set_grad_enabled",)  # functions without tensors that still change later calls
Storage = int  # the address: all tensors of a call are held, so no address is used twice


class NotFollowed(Exception):
    """A call can't be recorded, or a recorded one can't be made again."""


@dataclass(frozen=True, eq=False)
class ProgramCall:
    """One call of a torch function; it is equal to no other."""

    ordinal: int
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    where: str  # `my_cell.py:31`

    @property
    def name(self) -> str:
        """The function's name, such as `linear`; that of an operator without its underscores, such as `matmul`."""
        name = str(getattr(self.function, "__name__", self.function))
        return name.strip("_") if name.startswith("__") else name

    @property
    def is_in_place(self) -> bool:
        """Return True if the call writes into its first argument, or into `out`."""
        return bool(IN_PLACE.fullmatch(self.name)) or self.kwargs.get("out") is not None

    @cached_property
    def reads(self) -> set[Storage]:
        """The storages of all tensors in the arguments."""
        return storages((self.args, self.kwargs))

    @cached_property
    def writes(self) -> set[Storage]:
        """The storages of the result, and of the tensors that the call writes into."""
        into = storages((self.args[:1], self.kwargs.get("out"))) if self.is_in_place else set()
        return storages(self.result) | into

    @property
    def is_product(self) -> bool:
        """Return True if the call multiplies rows with a weight."""
        is_known = self.name in PRODUCT_CALLS and len(self.args) > PRODUCT_CALLS[self.name] + 1
        return is_known and isinstance(self.result, Tensor) and self.kwargs.get("out") is None

    @property
    def rows(self) -> Any:
        """The rows of a product."""
        return self.args[PRODUCT_CALLS[self.name]]

    @property
    def factors(self) -> list[Any]:
        """The other arguments of a product, such as weight and bias, in the function's order."""
        at = PRODUCT_CALLS[self.name]
        return [*self.args[:at], *self.args[at + 1 :], *self.kwargs.values()]

    def product(self, rows: Tensor, factors: Sequence[Any]) -> Tensor:
        """Make the product of other rows and factors."""
        at = PRODUCT_CALLS[self.name]
        product: Tensor = self.function(*factors[:at], rows, *factors[at:])
        return product


CallGroup = list[ProgramCall]


class ProgramRecorder(TorchFunctionMode):
    """Records the torch functions that are called while this mode is active."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[ProgramCall] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make a call and record it; raises NotFollowed if there are too many."""
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if len(self.calls) == MAX_PROGRAM_CALLS:
            raise NotFollowed(f"it calls more than {MAX_PROGRAM_CALLS:,} torch functions")
        call = ProgramCall(len(self.calls), function, args, kwargs, result, _where())
        # A replay drops earlier gradients.
        is_grad = call.name in ("get", "set") and getattr(function.__self__, "__name__", "") == "grad"
        if call.name in CONTEXTS or (not is_grad and (call.reads or call.writes)):
            self.calls.append(call)
        return result


@dataclass(frozen=True)
class Program:
    """A program up to the start of backward: as it was recorded, or without some of its work (see `replay`)."""

    calls: tuple[ProgramCall, ...]
    returned: object  # the returned value, or the tensor that backward starts from
    hidden: frozenset[Storage]  # of tensors of unknown origin: from scripted code or a custom autograd function
    backward: Sequence[ProgramCall] = ()  # the call that starts it, if there is one
    instead: dict[int, Tensor] = field(default_factory=dict)  # id of a recorded tensor -> what takes its place
    keeps_views: bool = True  # also those that nothing needs any more

    @cached_property
    def key(self) -> Callable[[Any], Any]:
        """A function that returns equal keys for equal values: for results of one function on equal arguments, too."""
        numbers: dict[Any, int] = defaultdict(count().__next__)
        values: dict[int, int] = {}  # id of a tensor -> its number; a recording holds all tensors

        def key(value: Any) -> Any:
            if isinstance(value, Tensor):
                return values.setdefault(id(value), numbers[place(value), value.dtype])
            if isinstance(value, tuple | list):
                return tuple(map(key, value))
            return value if isinstance(value, int | float | str | torch.dtype | None) else repr(value)

        for call in self.calls:
            arguments = call.ordinal if call.is_in_place else key([call.args, sorted(call.kwargs.items())])
            for index, tensor in enumerate(tensors_in(call.result)):
                values.setdefault(id(tensor), numbers[repr(call.function), arguments, index])
        return key

    @cached_property
    def by_weight(self) -> list[CallGroup]:
        """Groups of products, or cells of torch, with one weight, which may be computed again for each of them."""

        def weight(call: ProgramCall) -> Any:
            return call.name, self.key(call.factors if call.is_product else call.args[FIRST_WEIGHT:])

        return grouped((call for call in self.calls if call.is_product or call.name in CELL_CLASSES), weight)

    @cached_property
    def steps(self) -> int:
        """The steps of a loop: the most products or cells with one weight that depend on each other."""
        return max((len(group) for group in self.by_weight if self.is_chain(group)), default=1)

    def following(self, sources: Sequence[ProgramCall], unknown: Iterable[Storage] = ()) -> set[ProgramCall]:
        """Return the calls with an argument made from an earlier result of `sources`, or from `unknown`."""
        among = set(sources)
        tainted = set(unknown)
        following = set[ProgramCall]()
        for call in self.calls:
            if call.reads & tainted:
                following.add(call)
            if call in among or call in following:
                tainted |= call.writes
        return following

    def is_chain(self, group: CallGroup) -> bool:
        """Return True if a call of the group depends on an earlier one, or on what can't be seen."""
        return not self.following(group, self.hidden).isdisjoint(group)


def record(call: Callable[[], object]) -> Program:
    """Record a call twice, in the current modes; raises NotFollowed if it is too long, and any error of the call.

    A tensor that is read but that no recorded call made is a parameter or constant if both recordings read it: the
    tensors of the first are still held during the second. Otherwise it was made where it can't be recorded.
    """
    with ProgramRecorder() as first:
        call()
    with ProgramRecorder() as second:
        returned = call()
    index = next(
        (index for index, later_call in enumerate(second.calls) if later_call.name == "backward"), len(second.calls)
    )
    calls = second.calls[:index]
    backward = second.calls[index : index + 1]
    unknown = _unmade(calls) - _unmade(first.calls)
    return Program(tuple(calls), backward[0].args[0] if backward else returned, frozenset(unknown), backward)


def grouped(calls: Iterable[ProgramCall], key: Callable[[ProgramCall], Any]) -> list[CallGroup]:
    """Return the calls in groups with equal keys, both in their order."""
    groups: dict[Any, CallGroup] = defaultdict(list)
    for call in calls:
        groups[key(call)].append(call)
    return list(groups.values())


def storages(value: object) -> set[Storage]:
    """Return the storage addresses of all tensors in nested tuples, lists and mappings; an empty tensor has none."""
    parts = (part for tensor in tensors_in(value) for part in dense_parts(tensor))
    return {address for part in parts if (address := storage_address(part))}


def place(value: Any) -> Any:
    """Return a key: equal for two views of one part of a storage, and for other values that look the same."""
    if not isinstance(value, Tensor):
        return repr(value)
    return (value.shape, *((part.data_ptr(), part.shape, part.stride()) for part in dense_parts(value)))


def _unmade(calls: Iterable[ProgramCall]) -> set[Storage]:
    """Return the storages that are read and that no earlier call has made."""
    origins = set[Storage]()
    unknown = set[Storage]()
    for call in calls:
        unknown |= call.reads - origins
        origins |= call.writes
    return unknown


def _where() -> str:
    """Return the innermost line of code that is neither torch's nor of rnnbench's harness; a notebook's is quoted."""
    for frame, line in walk_stack(sys._getframe(2)):
        file = frame.f_code.co_filename
        if file.startswith("<ipython-input-") or Path(file).parent.name.startswith("ipykernel_"):
            return f"`{linecache.getline(file, line).strip()}`:{line}"
        if not file.startswith((TORCH_FOLDER, *OUR_FOLDERS, "<")):
            return f"{Path(file).name}:{line}"
    return ""

"""A call as a program: the torch functions that it calls, and a replay that can be timed without some of them.

The functions become operators (`operators.py`). Causes are found at this level because the author can change it: how
values flow between the functions, and the lines that call them.

Each remedy turns a program into one without a group's needless work; `replay` makes a function of a program. Values
that can be made once are made before timing starts: stacked weights and inputs, as in a better cell. In a replay, each
torch function is a line of Python, as in a cell. Values are released as soon as nothing needs them, and parameters are
read from a module for each function that uses them. A replay lacks the rest of the program's own Python: the frames of
its methods, its loops and conditions.

Two simpler ways were tried. Intercepting functions in the running program gave estimates up to a third too low. Making
the calls of a cause alone, on the recorded tensors, gave 0.4 to 1.5 times the real sizes in inference, where replays
give 0.9 to 1.1 (`python -m tests.validation explained`), and nothing at all for small products in training.
"""

import linecache
import operator
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from traceback import walk_stack
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from rnnbench.cells.states import dense_parts, storage_address
from rnnbench.harness.live.live_cases import tensors_in

MAX_CALLS = 20_000  # of torch functions; their tensors are held while the program is examined
TORCH = str(Path(torch.__file__).parent)
OURS = tuple(str(Path(__file__).parents[1] / room) for room in ("harness", "profiling"))
# Functions that multiply rows with a weight -> the index of the argument that holds the rows.
PRODUCT_CALLS = {"linear": 0, "matmul": 0, "mm": 0, "addmm": 1}
CELL_CLASSES = ("rnn_tanh_cell", "rnn_relu_cell", "lstm_cell", "gru_cell")  # one step of torch's own cells
FIRST_WEIGHT = 2  # index among the arguments of a cell
IN_PLACE = re.compile(r".+_|setitem|i(add|sub|mul|truediv|floordiv|mod|pow|and|or|xor|lshift|rshift)")
ATTRIBUTES: dict[str, Any] = {"__get__": getattr, "__set__": setattr}  # of a tensor, such as `x.mT`
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
    def written(self) -> bool:
        """Whether it writes into its first argument, or into `out`."""
        return bool(IN_PLACE.fullmatch(self.name)) or self.kwargs.get("out") is not None

    @cached_property
    def reads(self) -> set[Storage]:
        """Storages of all tensors in the arguments."""
        return storages((self.args, self.kwargs))

    @cached_property
    def writes(self) -> set[Storage]:
        """Storages of the result, and of the tensors that the call writes into."""
        into = storages((self.args[:1], self.kwargs.get("out"))) if self.written else set()
        return storages(self.result) | into

    @property
    def is_product(self) -> bool:
        """Whether rows are multiplied with a weight."""
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
        made: Tensor = self.function(*factors[:at], rows, *factors[at:])
        return made


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
        if len(self.calls) == MAX_CALLS:
            raise NotFollowed(f"it calls more than {MAX_CALLS:,} torch functions")
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
            arguments = call.ordinal if call.written else key([call.args, sorted(call.kwargs.items())])
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
    index = next((index for index, made in enumerate(second.calls) if made.name == "backward"), len(second.calls))
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
    """Storage addresses of all tensors in nested tuples, lists and mappings; an empty tensor has none."""
    parts = (part for tensor in tensors_in(value) for part in dense_parts(tensor))
    return {address for part in parts if (address := storage_address(part))}


def place(value: Any) -> Any:
    """Return what is equal for two views of one part of a storage, and for other values that look the same."""
    if not isinstance(value, Tensor):
        return repr(value)
    return (value.shape, *((part.data_ptr(), part.shape, part.stride()) for part in dense_parts(value)))


def _unmade(calls: Iterable[ProgramCall]) -> set[Storage]:
    """Return the storages that are read and that no earlier call has made."""
    made = set[Storage]()
    unmade = set[Storage]()
    for call in calls:
        unmade |= call.reads - made
        made |= call.writes
    return unmade


def _where() -> str:
    """Return the innermost line of code that is neither torch's nor of rnnbench's harness; a notebook's is quoted."""
    for frame, line in walk_stack(sys._getframe(2)):
        file = frame.f_code.co_filename
        if file.startswith("<ipython-input-") or Path(file).parent.name.startswith("ipykernel_"):
            return f"`{linecache.getline(file, line).strip()}`:{line}"
        if not file.startswith((TORCH, *OURS, "<")):
            return f"{Path(file).name}:{line}"
    return ""


# Remedies


def use_sources(program: Program, groups: Sequence[CallGroup]) -> Program:
    """Use the first argument of each call, such as the source of a copy, in place of its result."""
    return _without(program, [(call, call.args[0]) for call in chain(*groups)])


def use_recorded_results(program: Program, groups: Sequence[CallGroup]) -> Program:
    """Use the recorded results, without gradients, in place of the calls; what they are made of is still made."""
    results = [(call, call.result) for call in chain(*groups)]
    made = [(call, value.detach().clone() if isinstance(value, Tensor) else value) for call, value in results]
    return replace(_without(program, made), keeps_views=program.keeps_views)


def use_first_results(program: Program, groups: Sequence[CallGroup]) -> Program:
    """Use the result of each group's first call in place of the others, which compute the same value."""
    return _without(program, [(call, group[0].result) for group in groups for call in group[1:]])


def merge_over_rows(program: Program, groups: Sequence[CallGroup], *, before: bool) -> Program:
    """Make the products of one weight one product: in place of the last or, of rows made `before`, of the first."""
    for group in groups:
        rows = torch.cat([call.rows.detach() for call in group]) if before else None
        with ProgramRecorder() as recorder:
            rows = torch.cat([call.rows for call in group]) if rows is None else rows
            parts = group[0].product(rows, group[0].factors).chunk(len(group))
        there = group[0 if before else -1].ordinal
        program = _without(program, list(zip(group, parts, strict=True)), recorder.calls, there)
    return program


def merge_over_weights(program: Program, groups: Sequence[CallGroup]) -> Program:
    """Make the products of one input with several weights a single product."""
    stacked: dict[Any, list[Tensor]] = {}  # the factors, which all steps share
    for group in groups:
        first = group[0]
        sizes = [int(call.result.shape[-1]) for call in group]
        key = tuple(place(factor) for call in group for factor in call.factors)
        if key not in stacked:
            along = 0 if first.name == "linear" else -1  # its weight is (output, input)
            columns = zip(*([each for each in call.factors if isinstance(each, Tensor)] for call in group), strict=True)
            stacked[key] = [_joined(parts, 0 if parts[0].dim() == 1 else along) for parts in columns]
        with ProgramRecorder() as recorder:
            whole = first.product(first.rows, stacked[key])
            # `chunk` is faster, and a cell would use it.
            parts = whole.chunk(len(sizes), -1) if len(set(sizes)) == 1 else whole.split_with_sizes(sizes, -1)
        program = _without(program, list(zip(group, parts, strict=True)), recorder.calls, first.ordinal)
    return program


def _joined(parts: Sequence[Tensor], along: int) -> Tensor:
    joined = torch.cat([part.detach() for part in parts], dim=along)
    if all(isinstance(part, nn.Parameter) for part in parts):
        return nn.Parameter(joined)
    return joined.requires_grad_(any(part.requires_grad for part in parts))


def _without(
    program: Program, replaced: Sequence[tuple[ProgramCall, Any]], added: Sequence[ProgramCall] = (), there: int = 0
) -> Program:
    """Return a program without some calls, each with what takes the place of its result; `added` are made `there`."""
    gone = {call for call, _ in replaced}
    calls = [call for call in program.calls if call not in gone]
    calls += [replace(call, ordinal=there) for call in added]
    calls.sort(key=lambda call: call.ordinal)
    instead = {id(call.result): value for call, value in replaced if isinstance(value, Tensor)}
    return replace(program, calls=tuple(calls), instead=program.instead | instead, keeps_views=False)


# The function


def replay(program: Program) -> Callable[[], object]:
    """Return a function that makes the calls of a program, up to its backward if it has one.

    It is called once here to check it. Raises NotFollowed if a part of the program could not be recorded, or if a
    result has another shape or type than the recorded one.
    """
    code = _Code(program)
    for made in (*program.calls, *program.backward):
        code.add(made)
    code.graph.output(code.argument(program.returned))
    code.graph.eliminate_dead_code(lambda node: not (node.op == "get_attr" or node.meta.get("is_spare")))
    module = GraphModule(code.parameters, code.graph)
    constants = tuple(code.constants)
    leaves = [each for each in (*code.parameters.values(), *constants) if each.requires_grad and each.is_leaf]
    dropped = leaves if program.backward else []

    def call(run: Callable[..., object] = module.forward) -> object:
        for leaf in dropped:
            leaf.grad = None
        return run(*constants)

    call(_Checked(module).run)
    return call


class _Code:
    """The lines of a replay, as a graph."""

    def __init__(self, program: Program) -> None:
        self.graph = Graph()
        self.parameters: dict[str, nn.Parameter] = {}
        self.constants: list[Tensor] = []  # in the order of the placeholders
        self._program = program
        self._made = set(program.hidden).union(*(call.writes - call.reads for call in program.calls))
        self._nodes: dict[int, Node] = {}  # key: the tensor's id, unique since the program holds all tensors

    def add(self, call: ProgramCall) -> None:
        """Add a call."""
        args, kwargs = self.argument((call.args, call.kwargs))
        function = getattr(call.function, "__name__", "")
        if function in ATTRIBUTES:
            node = self.graph.call_function(ATTRIBUTES[function], (args[0], call.function.__self__.__name__, *args[1:]))
        elif getattr(Tensor, function, None) is call.function:
            node = self.graph.call_method(function, args, kwargs)
        else:
            node = self.graph.call_function(call.function, args, kwargs)
        is_view = bool(call.reads & storages(call.result)) and not call.written
        node.meta["is_spare"] = is_view and not self._program.keeps_views
        self._bind(node, call.result)

    def _bind(self, node: Node, result: object) -> None:
        """Let the recorded result, and each part of a tuple, stand for the node."""
        if isinstance(result, Tensor):
            node.meta["like"] = (result.shape, result.dtype)
            self._nodes.setdefault(id(result), node)
        elif isinstance(result, list | tuple):
            for index, part in enumerate(result):
                part_node = self.graph.call_function(operator.getitem, (node, index))
                part_node.meta["is_spare"] = True
                self._bind(part_node, part)

    def argument(self, value: Any) -> Any:
        """Return an argument with nodes in place of its tensors; raises NotFollowed for one of unknown origin."""
        return tree_map_only(Tensor, self._node, value)

    def _node(self, tensor: Tensor) -> Node:
        while id(tensor) in self._program.instead:
            tensor = self._program.instead[id(tensor)]
        is_custom = isinstance(tensor.grad_fn, FunctionCtx)  # a custom autograd function
        if id(tensor) in self._nodes and not is_custom:
            return self._nodes[id(tensor)]
        if is_custom or (tensor.requires_grad and not tensor.is_leaf) or storages(tensor) & self._made:
            raise NotFollowed("a part of its code can't be seen")
        if isinstance(tensor, nn.Parameter):
            name = f"parameter_{id(tensor)}"
            self.parameters[name] = tensor
            return self.graph.get_attr(name)
        with self.graph.inserting_before(None):  # before all others
            self._nodes[id(tensor)] = self.graph.placeholder(f"constant_{len(self.constants)}")
        self.constants.insert(0, tensor)
        return self._nodes[id(tensor)]


class _Checked(Interpreter):
    """Runs a replay, and compares shape and type of each result with the recorded one."""

    def run_node(self, node: Node) -> Any:
        result = super().run_node(node)
        like = node.meta.get("like")
        if like is not None and (not isinstance(result, Tensor) or (result.shape, result.dtype) != like):
            raise NotFollowed("a replay of its calls gives other results")
        return result

"""A recorded call as a straight sequence of its torch functions, which can be timed without some of them.

Each function becomes a line of Python, as in a cell. Values are released as soon as nothing needs them, and parameters
are read from a module for each function that uses them. A replay lacks the rest of the program's own Python: the frames
of its methods, its loops and conditions.

Two simpler ways were tried. Intercepting functions in the running program gave estimates up to a third too low. Making
the calls of a cause alone, on the recorded tensors, gave 0.4 to 1.5 times the real sizes in inference, where replays
give 0.9 to 1.1 (`python -m tests.validation explained`), and nothing at all for small products in training.
"""

import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.fx.node import _get_qualified_name

from rnnbench.harness.live.arms import tensors_in
from rnnbench.profiling.program import PRODUCTS, Program, ProgramCall, place, storages

CONTEXTS = ("_set_grad_enabled",)  # functions without tensors that still change later calls
UNSEEN = "a part of its code can't be seen"


class ReplayDiffers(Exception):
    """The replay does not match the recording."""


class Replay:
    """The calls of a program, in order, up to its backward if it has one.

    Each remedy (`use_...`, `merge_...`) rewrites it to do without some of its work. Values that can be made once are
    made before timing starts: stacked weights and inputs, as in a better cell.
    """

    def __init__(self, program: Program) -> None:
        """Raises ReplayDiffers if a part of the program could not be recorded."""
        self._graph = Graph()
        self._made = set(program.hidden).union(*(call.writes - call.reads for call in program.calls))
        self._values: dict[int, Node] = {}  # key: the tensor's id, unique since the program holds all tensors
        self._constants: list[Tensor] = []  # in the order of the placeholders
        self._parameters: dict[str, nn.Parameter] = {}
        self._stacked: dict[Any, list[Tensor]] = {}
        self._nodes = {call.ordinal: self._add(call) for call in program.calls if _is_work(call)}
        self._trained = program.backward is not None
        output = self._argument(program.returned)
        if program.backward is not None:
            self._add(program.backward)
        self._graph.output(output)
        for node in reversed(self._graph.nodes):
            if node.meta.get("is_part") and not node.users:
                self._graph.erase_node(node)

    def use_sources(self, calls: Sequence[ProgramCall]) -> None:
        """Use the first argument of each call, such as the source of a copy, in place of its result."""
        for call in calls:
            self._replace(call, self._nodes[call.ordinal].all_input_nodes[0])

    def use_recorded_results(self, calls: Sequence[ProgramCall]) -> None:
        """Use the recorded results, without gradients, wherever they are needed."""
        for call in sorted(calls, key=lambda call: -call.ordinal):
            node = self._nodes[call.ordinal]
            if isinstance(call.result, Tensor) and node.users:
                node.replace_all_uses_with(self._constant(call.result.detach()))
            self._erase(node)

    def use_first_result(self, group: Sequence[ProgramCall]) -> None:
        """Use the result of the first call in place of the others, which compute the same value."""
        for call in reversed(group[1:]):
            if not self._nodes[call.ordinal]._erased:  # else it was only needed for a call that is gone
                self._replace(call, self._nodes[group[0].ordinal])

    def merge_before(self, group: Sequence[ProgramCall]) -> None:
        """Make the products of one weight with the rows of all steps a single product, in place of the first."""
        rows = self._constant(torch.cat([call.rows.detach() for call in group]))
        self._merge_rows(group, self._nodes[group[0].ordinal], rows)

    def merge_after(self, group: Sequence[ProgramCall]) -> None:
        """Make the products of one weight a single product in place of the last.

        Raises ReplayDiffers if a result is used before it.
        """
        last, at = self._nodes[group[-1].ordinal], PRODUCTS[group[0].name]
        early = set(takewhile(lambda node: node is not last, self._graph.nodes))
        if any(user in early for call in group for user in self._nodes[call.ordinal].users):
            raise ReplayDiffers("its results are used within the loop")
        with self._graph.inserting_before(last):
            rows = self._graph.call_function(torch.cat, ([self._nodes[call.ordinal].args[at] for call in group],))
        self._merge_rows(group, last, rows)

    def _merge_rows(self, group: Sequence[ProgramCall], there: Node, rows: Node) -> None:
        at = PRODUCTS[group[0].name]
        with self._graph.inserting_before(there):
            args = (*there.args[:at], rows, *there.args[at + 1 :])
            whole = self._graph.create_node(there.op, there.target, args, there.kwargs)
            steps = self._graph.call_method("view", (whole, len(group), -1, group[0].result.shape[-1]))
            self._split(group, there, ("unbind", (steps, 0)))

    def merge_over_weights(self, group: Sequence[ProgramCall]) -> None:
        """Make the products of one input with several weights a single product."""
        at, sizes = PRODUCTS[group[0].name], [int(call.result.shape[-1]) for call in group]
        key = tuple(place(factor) for call in group for factor in call.factors)
        if key not in self._stacked:  # by an earlier step
            along = 0 if group[0].name == "linear" else -1  # its weight is (output, input)
            columns = zip(*([each for each in call.factors if isinstance(each, Tensor)] for call in group), strict=True)
            self._stacked[key] = [_joined(parts, 0 if parts[0].dim() == 1 else along) for parts in columns]
        first = self._nodes[group[0].ordinal]
        with self._graph.inserting_before(first):
            stacked = [self._constant(weight) for weight in self._stacked[key]]
            args = (*stacked[:at], first.args[at], *stacked[at:])
            whole = self._graph.create_node(first.op, first.target, args, {})
            is_even = len(set(sizes)) == 1  # `chunk` is faster, and a cell would use it
            how = ("chunk", (whole, len(group), -1)) if is_even else ("split_with_sizes", (whole, sizes, -1))
            self._split(group, first, how)

    def _split(self, group: Sequence[ProgramCall], there: Node, how: tuple[str, tuple[Any, ...]]) -> None:
        """Use the parts of one value, which a method makes before the node `there`, in place of a group's results."""
        with self._graph.inserting_before(there):
            whole = self._graph.call_method(*how)
            parts = [self._graph.call_function(operator.getitem, (whole, index)) for index in range(len(group))]
        for call, part in zip(group, parts, strict=True):
            self._replace(call, part)

    def _replace(self, call: ProgramCall, value: Node) -> None:
        """Use a value in place of a call's result, and remove the call and the views made only for it."""
        node = self._nodes[call.ordinal]
        node.replace_all_uses_with(value)
        self._erase(node, "is_view")

    def _erase(self, node: Node, also: str = "is_part") -> None:
        """Remove a call if nothing needs it any more, along with what was fetched only for it."""
        if node.users:
            return
        inputs = node.all_input_nodes
        self._graph.erase_node(node)
        for source in inputs:
            if source.op == "get_attr" or source.meta.get(also):
                self._erase(source, also)

    def _constant(self, tensor: Tensor) -> Node:
        """A node for a tensor that exists before the call."""
        if isinstance(tensor, nn.Parameter):
            name = f"parameter_{id(tensor)}"
            self._parameters[name] = tensor
            return self._graph.get_attr(name)
        if id(tensor) not in self._values:
            with self._graph.inserting_before(None):  # before all others
                self._values[id(tensor)] = self._graph.placeholder(f"constant_{len(self._constants)}")
            self._constants.insert(0, tensor)
        return self._values[id(tensor)]

    def _argument(self, value: Any) -> Any:
        """An argument with nodes in place of its tensors; raises ReplayDiffers for a tensor of unknown origin."""
        if isinstance(value, Tensor):
            is_custom = isinstance(value.grad_fn, FunctionCtx)  # a custom autograd function
            if id(value) in self._values and not is_custom:
                return self._values[id(value)]
            if is_custom or (value.requires_grad and not value.is_leaf) or storages(value) & self._made:
                raise ReplayDiffers(UNSEEN)
            return self._constant(value)
        if type(value) in (list, tuple):
            return type(value)(map(self._argument, value))
        if any(True for _ in tensors_in(value)):
            raise ReplayDiffers(f"it gives a function a {type(value).__name__}")
        return value

    def call(self) -> Callable[[], object]:
        """A function that makes the call, starting without gradients; the call is made once here to check it.

        Raises ReplayDiffers if a result has another shape or type than the recorded one.
        """
        module, constants = GraphModule(self._parameters, self._graph), tuple(self._constants)
        tensors_before = (*self._parameters.values(), *constants)
        leaves = [tensor for tensor in tensors_before if tensor.requires_grad and tensor.is_leaf]
        dropped, forward = leaves if self._trained else [], module.forward

        def call() -> object:
            for leaf in dropped:
                leaf.grad = None
            return forward(*constants)

        for leaf in dropped:
            leaf.grad = None
        _Checked(module).run(*constants)
        return call

    def _add(self, call: ProgramCall) -> Node:
        """Add a recorded call; properties and indices become calls of functions."""
        function, name = call.function, str(getattr(call.function, "__name__", ""))
        args, kwargs = self._argument(call.args), {key: self._argument(value) for key, value in call.kwargs.items()}
        if name in ("__get__", "__set__"):
            target: Any = getattr if name == "__get__" else setattr
            given = args[1:] if name == "__set__" else ()
            node = self._graph.call_function(target, (args[0], _property(call), *given))
        elif name == "__getitem__":
            node = self._graph.call_function(operator.getitem, args)
        elif getattr(Tensor, name, None) is function:
            node = self._graph.call_method(name, args, kwargs)
        else:
            node = self._graph.call_function(_nameable(function), args, kwargs)
        node.meta["is_view"] = bool(call.reads & storages(call.result)) and not call.written
        self._bind(node, call.result)
        return node

    def _bind(self, node: Node, result: object) -> None:
        """Let the recorded result, and each part of a tuple, stand for the node."""
        if isinstance(result, Tensor):
            node.meta["like"] = (result.shape, result.dtype)
            self._values.setdefault(id(result), node)
        elif isinstance(result, list | tuple) and any(True for _ in tensors_in(result)):
            for index, part in enumerate(result):
                part_node = self._graph.call_function(operator.getitem, (node, index))
                part_node.meta |= {"is_view": True, "is_part": True}
                self._bind(part_node, part)


class _Checked(Interpreter):
    """Runs a replay, and compares shape and type of each result with the recorded one."""

    def run_node(self, node: Node) -> Any:
        result = super().run_node(node)
        like = node.meta.get("like")
        if like is not None and (not isinstance(result, Tensor) or (result.shape, result.dtype) != like):
            raise ReplayDiffers("a replay of its calls gives other results")
        return result


def _is_work(call: ProgramCall) -> bool:
    """False for access to `grad`, since a replay drops earlier gradients, and for calls that involve no tensor."""
    if call.name in ("get", "set"):
        return _property(call) != "grad"
    return bool(call.reads or storages(call.result)) or call.name in CONTEXTS


def _property(call: ProgramCall) -> str:
    return str(getattr(getattr(call.function, "__self__", None), "__name__", ""))


def _nameable(function: Any) -> Any:
    """The function, or a function that calls it if generated code can't name it."""
    with suppress(RuntimeError, AttributeError):
        _get_qualified_name(function)
        return function

    def unnamed(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return unnamed


def _joined(parts: Sequence[Tensor], along: int) -> Tensor:
    joined = torch.cat([part.detach() for part in parts], dim=along)
    if all(isinstance(part, nn.Parameter) for part in parts):
        return nn.Parameter(joined)
    return joined.requires_grad_() if any(part.requires_grad for part in parts) else joined

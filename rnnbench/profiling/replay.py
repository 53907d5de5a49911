"""A recorded call as a straight sequence of its torch functions, which can be timed without some of them.

Each remedy turns a program into one without a group's needless work; `replay` makes a function of a program. Values
that can be made once are made before timing starts: stacked weights and inputs, as in a better cell. In a replay, each
torch function is a line of Python, as in a cell. Values are released as soon as nothing needs them, and parameters are
read from a module for each function that uses them. A replay lacks the rest of the program's own Python: the frames of
its methods, its loops and conditions.

Two simpler ways were tried. Intercepting functions in the running program gave estimates up to a third too low. Making
the calls of a cause alone, on the recorded tensors, gave 0.4 to 1.5 times the real sizes in inference, where replays
give 0.9 to 1.1 (`python -m tests.validation explained`), and nothing at all for small products in training.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.utils._pytree import tree_map_only

from rnnbench.profiling.program import (
    CallGroup,
    NotFollowed,
    Program,
    ProgramCall,
    ProgramRecorder,
    place,
    storages,
)

ATTRIBUTES: dict[str, Any] = {"__get__": getattr, "__set__": setattr}  # of a tensor, such as `x.mT`

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
        first, sizes = group[0], [int(call.result.shape[-1]) for call in group]
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
    module, constants = GraphModule(code.parameters, code.graph), tuple(code.constants)
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

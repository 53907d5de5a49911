"""A recorded call as a straight line of the torch functions that it called, which can be timed without some of them.

A line of Python stands for each function, as it would in a cell; values are let go of where nothing needs them any
more, and parameters are fetched from a module for each function that is given them. What a replay lacks is all else of
the program's own Python: the frames of its methods, its loops and conditions.

The other way that was tried, intercepting functions in the running program, sized them too low: small products by up to
a third, an input's product by up to a quarter (`python -m tests.validation explained`, as it was then).
"""

import operator
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.fx.node import _get_qualified_name

from rnnbench.harness.live.arms import tensors
from rnnbench.harness.profiling.program import ProgramCall, Watched, storages

CONTEXTS = ("_set_grad_enabled",)  # what has to do with no tensor and still changes what follows


class ReplayDiffers(Exception):
    """The replay is not what was recorded."""


class Replay:
    """The calls of a program, in their order, up to its backward where it has one."""

    def __init__(self, watched: Watched) -> None:
        """Raises ReplayDiffers where a part can't be seen."""
        self._graph = Graph()
        self._made = set(watched.hidden).union(*(call.writes - call.reads for call in watched.calls))
        self._values: dict[int, Node] = {}  # by the tensor's id: `watched` holds them all, so none comes twice
        self._constants: list[Tensor] = []  # in the order of the placeholders
        self._parameters: dict[str, nn.Parameter] = {}
        self._nodes = {call.ordinal: self._add(call) for call in watched.calls if _is_work(call)}
        self._trained = watched.backward is not None
        output = self.argument(watched.returned)
        if watched.backward is not None:
            self._add(watched.backward)
        self._graph.output(output)
        for node in reversed(self._graph.nodes):
            if node.meta.get("is_part") and not node.users:
                self._graph.erase_node(node)

    def node(self, call: ProgramCall) -> Node:
        """What stands for a call."""
        return self._nodes[call.ordinal]

    def replace(self, call: ProgramCall, value: Node) -> None:
        """Give a value in the place of a call's result, and leave the call out with the views made for it alone."""
        node = self.node(call)
        node.replace_all_uses_with(value)
        self.erase(node, "is_view")

    def before(self, node: Node) -> Any:
        """A context in which calls are added before that one."""
        return self._graph.inserting_before(node)

    def again(self, node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Node:
        """Another call of the same function."""
        return self._graph.create_node(node.op, node.target, args, kwargs)

    def method(self, name: str, *args: Any) -> Node:
        """A call of a tensor's method."""
        return self._graph.call_method(name, args)

    def parts(self, whole: Node, count: int) -> list[Node]:
        """The values of a tuple."""
        return [self._graph.call_function(operator.getitem, (whole, place)) for place in range(count)]

    def constant(self, tensor: Tensor) -> Node:
        """A tensor that is there before the call."""
        if isinstance(tensor, nn.Parameter):
            name = f"parameter_{id(tensor)}"
            self._parameters[name] = tensor
            return self._graph.get_attr(name)
        if id(tensor) not in self._values:
            with self._graph.inserting_before(None):  # before all others
                self._values[id(tensor)] = self._graph.placeholder(f"constant_{len(self._constants)}")
            self._constants.insert(0, tensor)
        return self._values[id(tensor)]

    def argument(self, value: Any) -> Any:
        """An argument, with what stands for the tensors in it; raises ReplayDiffers for one that comes from nowhere."""
        if isinstance(value, Tensor):
            if isinstance(value.grad_fn, FunctionCtx):  # an autograd function of one's own
                raise ReplayDiffers("a part of its code can't be seen")
            if id(value) in self._values:
                return self._values[id(value)]
            if (value.requires_grad and not value.is_leaf) or storages(value) & self._made:
                raise ReplayDiffers("a part of its code can't be seen")
            return self.constant(value)
        if type(value) in (list, tuple):
            return type(value)(map(self.argument, value))
        if any(True for _ in tensors(value)):
            raise ReplayDiffers(f"it gives a function a {type(value).__name__}")
        return value

    def erase(self, node: Node, also: str = "is_part") -> None:
        """Leave out a call, if nothing needs it any more, and with it what was fetched for it alone."""
        if node.users:
            return
        given = node.all_input_nodes
        self._graph.erase_node(node)
        for one in given:
            if one.op == "get_attr" or one.meta.get(also):
                self.erase(one, also)

    def call(self) -> Callable[[], object]:
        """What makes the call, from gradients that were dropped, after having made it once.

        Raises ReplayDiffers where a result has another shape or type than the recorded one.
        """
        module, constants = GraphModule(self._parameters, self._graph), tuple(self._constants)
        leaves = [one for one in (*self._parameters.values(), *constants) if one.requires_grad and one.is_leaf]
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
        function, name = call.function, str(getattr(call.function, "__name__", ""))
        args, kwargs = self.argument(call.args), {key: self.argument(value) for key, value in call.kwargs.items()}
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
        if isinstance(result, Tensor):
            node.meta["like"] = (result.shape, result.dtype)
            self._values.setdefault(id(result), node)
        elif isinstance(result, list | tuple) and any(True for _ in tensors(result)):
            for place, part in enumerate(result):
                one = self._graph.call_function(operator.getitem, (node, place))
                one.meta |= {"is_view": True, "is_part": True}
                self._bind(one, part)


class _Checked(Interpreter):
    def run_node(self, node: Node) -> Any:
        result = super().run_node(node)
        like = node.meta.get("like")
        if like is not None and (not isinstance(result, Tensor) or (result.shape, result.dtype) != like):
            raise ReplayDiffers("a replay of its calls gives other results")
        return result


def _is_work(call: ProgramCall) -> bool:
    """Not what only gradients of the call before need, which are dropped, and what has to do with no tensor."""
    if call.name in ("get", "set"):
        return _property(call) != "grad"
    return bool(call.reads or storages(call.result)) or call.name in CONTEXTS


def _property(call: ProgramCall) -> str:
    return str(getattr(getattr(call.function, "__self__", None), "__name__", ""))


def _nameable(function: Any) -> Any:
    """The same, or where generated code has no name for it, another that calls it."""
    with suppress(RuntimeError, AttributeError):
        _get_qualified_name(function)
        return function

    def unnamed(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return unnamed

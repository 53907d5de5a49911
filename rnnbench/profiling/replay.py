"""Make a program again, as a function that can be timed.

In a replay, each torch function is a line of Python, as in a cell. Values that can be made once are made before timing
starts: stacked weights and inputs, as in a better cell. Values are released as soon as nothing needs them, and
parameters are read from a module for each function that uses them. A replay lacks the rest of the program's own Python:
the frames of its methods, its loops and conditions.

Two simpler ways were tried. Intercepting functions in the running program gave estimates up to a third too low. Making
the calls of a cause alone, on the recorded tensors, gave 0.4 to 1.5 times the real sizes in inference, where replays
give 0.9 to 1.1 (`python -m tests.validation explained`), and nothing at all for small products in training.
"""

import operator
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.utils._pytree import tree_map_only

from rnnbench.profiling.program import NotFollowed, Program, ProgramCall, storages

ATTRIBUTE_ACCESS: dict[str, Any] = {"__get__": getattr, "__set__": setattr}  # of a tensor, such as `x.mT`


def replay(program: Program) -> Callable[[], object]:
    """Return a function that makes the calls of a program, up to its backward if it has one.

    It is called once here to check it. Raises NotFollowed if a part of the program could not be recorded, or if a
    result has another shape or type than the recorded one.
    """
    code = _Code(program)
    for call_of_program in (*program.calls, *program.backward):
        code.add(call_of_program)
    code.graph.output(code.argument(program.returned))
    code.graph.eliminate_dead_code(lambda node: not (node.op == "get_attr" or node.meta.get("is_spare")))
    module = GraphModule(code.parameters, code.graph)
    constants = tuple(code.constants)
    leaves = [each for each in (*code.parameters.values(), *constants) if each.requires_grad and each.is_leaf]
    leaves_to_clear = leaves if program.backward else []

    def call(run: Callable[..., object] = module.forward) -> object:
        for leaf in leaves_to_clear:
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
        if function in ATTRIBUTE_ACCESS:
            node = self.graph.call_function(
                ATTRIBUTE_ACCESS[function], (args[0], call.function.__self__.__name__, *args[1:])
            )
        elif getattr(Tensor, function, None) is call.function:
            node = self.graph.call_method(function, args, kwargs)
        else:
            node = self.graph.call_function(call.function, args, kwargs)
        is_view = bool(call.reads & storages(call.result)) and not call.is_in_place
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

"""What a recorded call would be without something that it does: each remedy rewrites its replay.

What can be made once before the clock starts is made there: stacked weights and inputs, as a cell without such a fault
would have them.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.fx import Node

from rnnbench.harness.profiling.program import ProgramCall
from rnnbench.harness.profiling.replay import Replay

Remedy = Callable[[Replay], None]
# Functions that multiply rows with a weight, and which of their arguments the rows are.
ROWS = {"linear": 0, "matmul": 0, "mm": 0, "addmm": 1}


def product_of(name: str) -> int | None:
    """Which argument of a product the rows are; None where it is none."""
    return ROWS.get(name)


def give_first(calls: Sequence[ProgramCall]) -> Remedy:
    """What was given first, in place of its copy."""

    def rewrite(replay: Replay) -> None:
        for call in calls:
            replay.replace(call, replay.node(call).all_input_nodes[0])

    return rewrite


def give_results(calls: Sequence[ProgramCall]) -> Remedy:
    """The recorded results, without a gradient, where anything needs them."""

    def rewrite(replay: Replay) -> None:
        for call in sorted(calls, key=lambda one: -one.ordinal):
            node = replay.node(call)
            if isinstance(call.result, Tensor) and node.users:
                node.replace_all_uses_with(replay.constant(call.result.detach()))
            replay.erase(node)

    return rewrite


def make_whole(group: Sequence[ProgramCall]) -> Remedy:
    """The products of one weight with all steps' rows as one product, at the first of them."""
    at = product_of(group[0].name) or 0
    rows = torch.cat([call.args[at].detach() for call in group])

    def rewrite(replay: Replay) -> None:
        first = replay.node(group[0])
        with replay.before(first):
            args = (*first.args[:at], replay.constant(rows), *first.args[at + 1 :])
            whole = replay.again(first, args, first.kwargs)
            steps = replay.method("view", whole, len(group), -1, group[0].result.shape[-1])
            parts = replay.parts(replay.method("unbind", steps, 0), len(group))
        _replace(replay, group, parts)

    return rewrite


def make_stacked(group: Sequence[ProgramCall], weights: Sequence[Tensor]) -> Remedy:
    """The products of one input with several weights as one product; `weights` as `stacked` has them."""
    at, sizes = product_of(group[0].name) or 0, [int(call.result.shape[-1]) for call in group]
    is_even = len(set(sizes)) == 1  # `chunk` is quicker, and what a cell would do

    def rewrite(replay: Replay) -> None:
        first = replay.node(group[0])
        with replay.before(first):
            own = [replay.constant(weight) for weight in weights]
            whole = replay.again(first, (*own[:at], first.args[at], *own[at:]), {})
            split = ("chunk", len(group)) if is_even else ("split_with_sizes", sizes)
            parts = replay.parts(replay.method(split[0], whole, split[1], -1), len(group))
        _replace(replay, group, parts)

    return rewrite


def stacked(group: Sequence[ProgramCall]) -> list[Tensor]:
    """The weights of calls of the same function side by side, in the order of the arguments, the rows left out."""
    columns = [_weights(call) for call in group]
    along = 0 if group[0].name == "linear" else -1  # its weight is (output, input)
    return [_joined(parts, 0 if parts[0].dim() == 1 else along) for parts in zip(*columns, strict=True)]


def _replace(replay: Replay, group: Sequence[ProgramCall], parts: Sequence[Node]) -> None:
    for call, part in zip(group, parts, strict=True):
        replay.replace(call, part)


def _weights(call: ProgramCall) -> list[Tensor]:
    at = product_of(call.name) or 0
    given = [arg for index, arg in enumerate(call.args) if index != at] + list(call.kwargs.values())
    return [arg for arg in given if isinstance(arg, Tensor)]


def _joined(parts: Sequence[Tensor], along: int) -> Tensor:
    joined = torch.cat([part.detach() for part in parts], dim=along)
    if all(isinstance(part, nn.Parameter) for part in parts):
        return nn.Parameter(joined)
    return joined.requires_grad_() if any(part.requires_grad for part in parts) else joined

"""Change a recorded call so that it does without some of its work: each remedy rewrites the replay of the call.

Values that can be made once are made before timing starts: stacked weights and inputs, as in a better cell.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.fx import Node

from rnnbench.harness.profiling.program import ProgramCall
from rnnbench.harness.profiling.replay import Replay

Remedy = Callable[[Replay], None]
# Functions that multiply rows with a weight -> the index of the argument that holds the rows.
ROWS = {"linear": 0, "matmul": 0, "mm": 0, "addmm": 1}


def product_of(name: str) -> int | None:
    """The index of the argument that holds the rows of a product; None if the function is not a product."""
    return ROWS.get(name)


def use_sources(calls: Sequence[ProgramCall]) -> Remedy:
    """Use the first argument of each call, such as the source of a copy, in place of its result."""

    def rewrite(replay: Replay) -> None:
        for call in calls:
            replay.replace(call, replay.node(call).all_input_nodes[0])

    return rewrite


def use_recorded_results(calls: Sequence[ProgramCall]) -> Remedy:
    """Use the recorded results, without gradients, wherever they are needed."""

    def rewrite(replay: Replay) -> None:
        for call in sorted(calls, key=lambda call: -call.ordinal):
            node = replay.node(call)
            if isinstance(call.result, Tensor) and node.users:
                node.replace_all_uses_with(replay.constant(call.result.detach()))
            replay.erase(node)

    return rewrite


def use_first_result(group: Sequence[ProgramCall]) -> Remedy:
    """Use the result of the first call in place of the others, which compute the same value."""

    def rewrite(replay: Replay) -> None:
        first = replay.node(group[0])
        for call in reversed(group[1:]):
            if replay.has(call):  # else it was only needed for a call that is gone
                replay.replace(call, first)

    return rewrite


def merge_into_last(group: Sequence[ProgramCall]) -> Remedy:
    """Make the products of one weight a single product in place of the last; no result may be used before it."""
    at = product_of(group[0].name) or 0

    def rewrite(replay: Replay) -> None:
        last = replay.node(group[-1])
        replay.check_unused_before(last, group)
        with replay.before(last):
            rows = replay.function(torch.cat, [replay.node(call).args[at] for call in group])
            whole = replay.call_again(last, (*last.args[:at], rows, *last.args[at + 1 :]), last.kwargs)
            steps = replay.method("view", whole, len(group), -1, group[0].result.shape[-1])
            parts = replay.parts(replay.method("unbind", steps, 0), len(group))
        _replace(replay, group, parts)

    return rewrite


def merge_into_first(group: Sequence[ProgramCall]) -> Remedy:
    """Make the products of one weight with the rows of all steps a single product, in place of the first."""
    at = product_of(group[0].name) or 0
    rows = torch.cat([call.args[at].detach() for call in group])

    def rewrite(replay: Replay) -> None:
        first = replay.node(group[0])
        with replay.before(first):
            args = (*first.args[:at], replay.constant(rows), *first.args[at + 1 :])
            whole = replay.call_again(first, args, first.kwargs)
            steps = replay.method("view", whole, len(group), -1, group[0].result.shape[-1])
            parts = replay.parts(replay.method("unbind", steps, 0), len(group))
        _replace(replay, group, parts)

    return rewrite


def merge_over_weights(group: Sequence[ProgramCall], weights: Sequence[Tensor]) -> Remedy:
    """Make the products of one input with several weights a single product; `weights` is the result of `stacked`."""
    at, sizes = product_of(group[0].name) or 0, [int(call.result.shape[-1]) for call in group]
    is_even = len(set(sizes)) == 1  # `chunk` is faster, and a cell would use it

    def rewrite(replay: Replay) -> None:
        first = replay.node(group[0])
        with replay.before(first):
            own = [replay.constant(weight) for weight in weights]
            whole = replay.call_again(first, (*own[:at], first.args[at], *own[at:]), {})
            split = ("chunk", len(group)) if is_even else ("split_with_sizes", sizes)
            parts = replay.parts(replay.method(split[0], whole, split[1], -1), len(group))
        _replace(replay, group, parts)

    return rewrite


def stacked_weights(group: Sequence[ProgramCall]) -> list[Tensor]:
    """Concatenate the weights of calls of one function, in the order of the arguments, without the rows."""
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

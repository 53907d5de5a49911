"""Which of a cell's parameters the tensors of its state depend on.

A cell may run with too few tensors of state and leave some of its layers out: `zip(self.layers, states)` ends with the
shorter one. A call that depends on more parameters is the right one, and so is, of several tensors, the output that
depends on most.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Reach = list[frozenset[int]]  # for each tensor, the numbers of the parameters that it depends on


def reach(cell: nn.Module, call: Callable[[], Sequence[Tensor]]) -> Reach:
    """What each tensor that `call` returns depends on, found by changing one parameter at a time.

    Without gradients, since a compiled or scripted cell may be specialised for them by a trial call. Parameters have
    their values again afterwards.
    """
    before = _repeatable(call)
    reached: list[set[int]] = [set() for _ in before]
    for number, parameter in enumerate(cell.parameters()):
        kept = parameter.detach().clone()
        try:
            parameter.copy_(kept + torch.randn_like(kept))
            after = _repeatable(call)
        finally:
            parameter.copy_(kept)
        for tensor, changed, numbers in zip(before, after, reached, strict=True):
            if not torch.equal(tensor, changed):
                numbers.add(number)
    return [frozenset(numbers) for numbers in reached]


def in_all(reached: Reach) -> int:
    """How many parameters the tensors depend on together."""
    return len(frozenset[int]().union(*reached))


def _repeatable(call: Callable[[], Sequence[Tensor]]) -> list[Tensor]:
    """The tensors of a call, with the same random numbers, such as those of dropout, each time."""
    torch.manual_seed(0)
    return [tensor.detach().clone() for tensor in call()]

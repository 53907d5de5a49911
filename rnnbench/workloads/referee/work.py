"""Count the operators and multiply-accumulates of a call in torch's dispatcher, which costs less than a profile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rnnbench.workloads.phases import TimedCall

# Operators that multiply matrices, and the index of the argument that holds the first one.
PRODUCTS = {
    torch.ops.aten.mm.default: 0,
    torch.ops.aten.bmm.default: 0,
    torch.ops.aten.addmm.default: 1,
    torch.ops.aten.baddbmm.default: 1,
    torch.ops.aten.linear.default: 0,  # in inference mode, where it reaches the dispatcher in one piece
    torch.ops.aten.matmul.default: 0,
}


@dataclass
class CallWork:
    """The work of one call."""

    operators: int = 0  # calls that reach the dispatcher below autograd
    macs: int = 0  # multiply-accumulates of matrix products


def work_of(timed: TimedCall) -> CallWork:
    """Make a call and count its work, backward included; whatever the call raises is passed on."""
    counter = _Counter()
    with timed.mode(), counter:
        timed.call()
    return counter.work


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = CallWork()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.work.operators += 1
        if (first := PRODUCTS.get(func)) is not None:
            self.work.macs += result.numel() * args[first].shape[-1]
        return result

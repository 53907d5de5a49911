"""The phases of a live arm: what one timed call does, as in `rnnbench.workloads.phases`."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnnbench.cells.own_gradients import fails_in_inference_mode
from rnnbench.harness.live.arms import Arm, tensors_in
from rnnbench.harness.live.outputs import first_tensor
from rnnbench.harness.live.put_back import Kept, keep_gradient
from rnnbench.store.records import Phase
from rnnbench.workloads.phases import TimedCall, fixed_direction


def inference(arm: Arm, _put_back: ExitStack) -> TimedCall:
    """Forward only, under `torch.inference_mode`, or `torch.no_grad` if the module takes gradients in its own steps."""
    call = partial(arm.run, *arm.args)
    return TimedCall(call, torch.no_grad if fails_in_inference_mode(call) else torch.inference_mode)


def training(arm: Arm, put_back: ExitStack) -> TimedCall:
    """Forward and backward, from a fixed gradient of the output to all gradients that are required."""
    forward_backward, leaves = _forward_backward(arm, put_back)

    def call() -> None:
        for leaf in leaves:
            leaf.grad = None  # otherwise backward would add to the gradients of the previous call
        forward_backward()

    return TimedCall(call, with_gradients)


def step(arm: Arm, put_back: ExitStack) -> TimedCall:
    """Forward, backward and an Adam step; a learning rate of zero does the same arithmetic."""
    forward_backward, leaves = _forward_backward(arm, put_back)
    given = {id(tensor) for tensor in tensors_in(arm.args)}
    weights = [leaf for leaf in leaves if leaf.requires_grad and id(leaf) not in given]
    if not weights:
        raise ValueError("has no parameters that an optimizer could step; time it in the phase `training`")
    for weight in weights:
        put_back.callback(Kept.of(weight).put_back)  # zero times an infinite or NaN gradient is not zero
    optimizer = torch.optim.Adam(weights, lr=0.0)

    def call() -> None:
        for leaf in leaves:
            leaf.grad = None
        forward_backward()
        optimizer.step()

    return TimedCall(call, with_gradients)


PHASES: dict[Phase, Callable[[Arm, ExitStack], TimedCall]] = {
    "inference": inference,
    "training": training,
    "step": step,
}


def _forward_backward(arm: Arm, put_back: ExitStack) -> tuple[Callable[[], None], list[Tensor]]:
    """A call of forward and backward, and the tensors whose gradients it computes; the gradients are restored."""
    run, args = arm.run, arm.args
    with with_gradients():
        output = first_tensor(run(*args))
    if output is None or not output.requires_grad:
        raise ValueError("its output needs no gradient, so there is no backward; time it in the phase `inference`")
    direction = fixed_direction(output, output.shape)
    leaves = list({id(leaf): leaf for leaf in (*arm.parameters(), *_leaves(output))}.values())
    for leaf in leaves:
        keep_gradient(leaf, put_back)

    def call() -> None:
        made: Any = first_tensor(run(*args))  # not None, as in the call above
        made.backward(direction)

    return call, leaves


def _leaves(output: Tensor) -> Iterable[Tensor]:
    """The tensors that receive gradients in `backward`, including those that a function only refers to."""
    seen, waiting = set(), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == "torch::autograd::AccumulateGrad":
            yield node.variable  # type: ignore[attr-defined]
        waiting += [before for before, _ in node.next_functions]


@contextmanager
def with_gradients() -> Iterator[None]:
    """Enable gradients, whatever mode the caller is in."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield

"""The modules and functions that a measurement compares ("arms"), and what one timed call of each phase does."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.layers import reads_batch_first
from rnnbench.cells.own_gradients import fails_in_inference_mode
from rnnbench.cells.states import BATCHED
from rnnbench.harness.live.put_back import Kept, keep_gradient
from rnnbench.harness.live.rounds import named
from rnnbench.store.records import Phase
from rnnbench.workloads.phases import TimedCall, fixed_direction

WANTED = "a tensor, a tuple of arguments, or a mapping from each name to one of these"


@dataclass(frozen=True)
class Arm:
    """A module or a function, with the arguments of every call."""

    name: str
    run: Callable[..., object]
    args: tuple[Any, ...]
    turns: bool = False  # its output has the first two dimensions in the other order than the reference's

    def output(self, result: object) -> Tensor | None:
        """Return the tensor of a call's result that is compared, in the reference's order of dimensions."""
        output = first_tensor(result)
        is_turned = self.turns and output is not None and output.shape[:2] == self.args[0].shape[:2]
        return output.transpose(0, 1) if is_turned and output is not None else output

    def parameters(self) -> list[nn.Parameter]:
        """The parameters of a module; empty for a function, whose parameters are unknown."""
        return list(self.run.parameters()) if isinstance(self.run, nn.Module) else []

    @property
    def is_torchs(self) -> bool:
        """Whether this is a recurrent layer or cell of torch.nn itself: a subclass is a user's own code."""
        return isinstance(self.run, nn.RNNBase | nn.RNNCellBase) and type(self.run).__module__.startswith("torch.nn.")


def arms_of(modules: Mapping[str, Callable[..., object]], input: object) -> dict[str, Arm]:
    """The arms by name; raises ValueError if names, modules and inputs do not fit together."""
    if not isinstance(modules, Mapping) or not all(isinstance(name, str) for name in modules):
        raise ValueError(
            "modules: expected a mapping from names to modules, such as {'mine': mine, 'torch': nn.LSTM(...)}"
        )
    if len(modules) < 2:
        raise ValueError(f"modules: expected two or more, to compare them; found {', '.join(modules) or 'none'}")
    if wrong := [name for name, module in modules.items() if not callable(module)]:
        raise ValueError(f"{wrong[0]}: expected a module or a function, found {type(modules[wrong[0]]).__name__}")
    if isinstance(input, Mapping) and set(input) != set(modules):
        raise ValueError(
            f"input: a mapping has the modules' names ({', '.join(modules)}), found {', '.join(map(str, input))}; "
            "an argument that is a mapping itself goes into a tuple"
        )
    own = input if isinstance(input, Mapping) else dict.fromkeys(modules, input)
    return {name: Arm(name, module, _arguments(own[name])) for name, module in modules.items()}


def reference_of(arms: Mapping[str, Arm], asked: str | None) -> str:
    """The name asked for, else that of the only layer or cell of torch.nn, else the first.

    Raises ValueError if no arm has the name that was asked for.
    """
    if asked is None:
        layers = [name for name, arm in arms.items() if arm.is_torchs]
        return layers[0] if len(layers) == 1 else next(iter(arms))
    if asked not in arms:
        raise ValueError(f"reference: no module {asked!r}; there are {', '.join(arms)}")
    return asked


def in_order(arms: Mapping[str, Arm], reference: str) -> dict[str, Arm]:
    """Return the arms, with those marked whose batch is in another place than the reference's.

    Raises ValueError for two arms that would run an input of equal shape as other numbers of sequences and steps.
    """
    orders = {name: _batch_first(arm) for name, arm in arms.items()}
    wanted, ordered = arms[reference], dict(arms)
    for name, arm in arms.items():
        if None in (orders[name], orders[reference]) or orders[name] == orders[reference]:
            continue
        own, other = arm.args[0], wanted.args[0]
        if own.shape[1::-1] != other.shape[:2]:
            one, two = (name, reference) if orders[name] else (reference, name)
            raise ValueError(
                f"{one} reads (batch, seq, ...) and {two} reads (seq, batch, ...), so they would run other numbers of "
                f"steps of {tuple(own.shape)}: give each its own, input={{{one!r}: x.transpose(0, 1), {two!r}: x}}"
            )
        ordered[name] = replace(arm, turns=own.shape[0] != own.shape[1] or torch.equal(own.transpose(0, 1), other))
    return ordered


def _batch_first(arm: Arm) -> bool | None:
    if not (arm.args and isinstance(arm.args[0], Tensor) and arm.args[0].dim() >= BATCHED):
        return None
    with named(arm.name):
        return reads_batch_first(arm.run, *arm.args)


def tensors_in(value: object) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and mappings, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | tuple | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(part)


def first_tensor(output: object) -> Tensor | None:
    """The tensor that is compared and that backward starts from: the output of torch.nn's layers, not their state."""
    if isinstance(output, tuple) and output and isinstance(output[0], Tensor):  # by far the most common
        return output[0]
    return next(tensors_in(output), None)


def _arguments(input: object) -> tuple[Any, ...]:
    if isinstance(input, tuple):
        return (input,) if hasattr(input, "_fields") else input  # a PackedSequence is one argument
    if isinstance(input, Tensor):
        return (input,)
    raise ValueError(f"input: expected {WANTED}, found {type(input).__name__}")


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

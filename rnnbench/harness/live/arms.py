"""The modules and functions that a measurement compares ("arms"), and what one timed call of each phase does."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from rnnbench.adapt.layers import reads_batch_first
from rnnbench.cells.states import BATCHED, fails_in_inference_mode
from rnnbench.harness.live.loop import named
from rnnbench.harness.live.put_back import Kept
from rnnbench.store.records import Phase
from rnnbench.workloads.phases import TimedCall, fixed_direction

PHASES: tuple[Phase, ...] = ("inference", "training", "step")
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
    arms = {}
    for name, module in modules.items():
        own: Any = input[name] if isinstance(input, Mapping) else input
        is_one = isinstance(own, Tensor) or hasattr(own, "_fields")  # a PackedSequence is one argument
        if not (is_one or isinstance(own, tuple)):
            raise ValueError(f"input: expected {WANTED}, found {type(own).__name__}")
        arms[name] = Arm(name, module, (own,) if is_one else own)
    return arms


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
    orders: dict[str, bool | None] = {}
    for name, arm in arms.items():
        is_sequence = arm.args and isinstance(arm.args[0], Tensor) and arm.args[0].dim() >= BATCHED
        with named(name):
            orders[name] = reads_batch_first(arm.run, *arm.args) if is_sequence else None
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


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield all tensors in nested tuples, lists and mappings, in order."""
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def first_tensor(output: object) -> Tensor | None:
    """Return the tensor that is compared and that backward starts from: a layer's output, and not its state."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) else next(tensors_in(output), None)


def timed_call(arm: Arm, phase: Phase, put_back: ExitStack) -> TimedCall:
    """Return the call of a phase. `put_back` restores the gradients and weights that it changes.

    `inference`: forward, under `torch.inference_mode`, or `torch.no_grad` if the module takes gradients in its own
    steps. `training`: forward and backward, from a fixed gradient of the output to all gradients that are required.
    `step`: also a step of Adam; a learning rate of zero does the same arithmetic.
    """
    run, args = arm.run, arm.args
    if phase == "inference":
        forward = partial(run, *args)
        return TimedCall(forward, torch.no_grad if fails_in_inference_mode(forward) else torch.inference_mode)
    with with_gradients():
        output = first_tensor(run(*args))
    if output is None or not output.requires_grad:
        raise ValueError("its output needs no gradient, so there is no backward; time it in the phase `inference`")
    direction = fixed_direction(output, output.shape)
    leaves = list({id(leaf): leaf for leaf in (*arm.parameters(), *_leaves(output))}.values())
    for leaf in leaves:
        put_back.callback(setattr, leaf, "grad", leaf.grad)
    optimizer = None
    if phase == "step":
        given = {id(tensor) for tensor in tensors_in(args)}
        weights = [leaf for leaf in leaves if leaf.requires_grad and id(leaf) not in given]
        if not weights:
            raise ValueError("has no parameters that an optimizer could step; time it in the phase `training`")
        for weight in weights:
            put_back.callback(Kept.of(weight).put_back)  # zero times an infinite or NaN gradient is not zero
        optimizer = torch.optim.Adam(weights, lr=0.0)

    def call() -> None:
        for leaf in leaves:
            leaf.grad = None  # otherwise backward would add to the gradients of the previous call
        made: Any = first_tensor(run(*args))  # not None, as in the call above
        made.backward(direction)
        if optimizer is not None:
            optimizer.step()

    return TimedCall(call, with_gradients)


def _leaves(output: Tensor) -> Iterable[Tensor]:
    """Yield the tensors that receive gradients in `backward`, including those that a function only refers to."""
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

"""The modules and functions that a measurement compares: their calls in each phase, and what the calls change.

What they change in the process and in the modules is restored.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from rnnbench.adapt.order import Order
from rnnbench.cells.states import copy_values, fails_in_inference_mode, same_values
from rnnbench.harness.machine import global_state
from rnnbench.store.records import Phase
from rnnbench.workloads.phases import TimedCall, fixed_direction, resting

CACHE_LINE = 64  # bytes
PAGE_LINES = 64  # cache lines of a page of memory


@dataclass(frozen=True)
class LiveCase:
    """A module or a function, with the arguments of every call."""

    name: str
    run: Callable[..., object]
    args: tuple[Any, ...]
    order: Order = "unknown"  # of the first two dimensions of its input
    is_turned: bool = False  # its input has these in the other order than the reference's, and its output may have, too

    @property
    def input(self) -> Any:
        """The first argument; None if there is none."""
        return self.args[0] if self.args else None

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters of a module; empty for a function, whose parameters are unknown."""
        return list(self.run.parameters()) if isinstance(self.run, nn.Module) else []


def check_phase(phase: object, phases: Sequence[str]) -> None:
    """Raise ValueError unless a phase is one of those that the function takes."""
    if isinstance(phase, str) and phase in phases:
        return
    more = ""
    if not isinstance(phase, str):
        more = "; rnnbench.sweep takes several"
    elif phase in get_args(Phase):
        more = f"; a suite measures {phase}, by `rnnbench run`"
    raise ValueError(f"phase: expected one of {', '.join(phases)}, found {phase!r}{more}")


@contextmanager
def with_threads(threads: object) -> Iterator[None]:
    """Let torch use so many threads, and then as many as before; None leaves their number. Raises ValueError."""
    before = torch.get_num_threads()
    if threads is not None:
        if not isinstance(threads, int) or threads < 1:
            raise ValueError(
                f"threads: expected a whole number of 1 or more, or None for torch's own; found {threads!r}"
            )
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def is_torchs(run: object) -> bool:
    """Return True for a recurrent layer or cell of torch.nn itself: a subclass is a user's own code."""
    return isinstance(run, nn.RNNBase | nn.RNNCellBase) and type(run).__module__.startswith("torch.nn.")


def check_modules(modules: object) -> None:
    """Raise ValueError unless this is a mapping from names to two modules or more."""
    kind = f"a value of type {type(modules).__name__}"
    if isinstance(modules, Mapping):
        if len(modules) > 1 and all(isinstance(name, str) for name in modules):
            return
        kind = ", ".join(map(str, modules)) or "none"
    raise ValueError(
        "modules: expected a mapping from names to two or more modules, such as {'mine': mine, 'torch': "
        f"nn.LSTM(...)}}; found {kind}"
    )


def cases_of(modules: Mapping[str, Callable[..., object]], input: object) -> dict[str, LiveCase]:
    """Return the cases by name; raises ValueError if names, modules and inputs do not fit together."""
    check_modules(modules)
    if isinstance(input, Mapping) and set(input) != set(modules):
        raise ValueError(
            f"input: a mapping has the modules' names ({', '.join(modules)}), found {', '.join(map(str, input))}; "
            "an argument that is a mapping itself goes into a tuple"
        )
    cases = {}
    for name, module in modules.items():
        argument: Any = input[name] if isinstance(input, Mapping) else input
        is_several = type(argument) is tuple  # not a PackedSequence
        cases[name] = LiveCase(name, module, argument if is_several else (argument,))
        if not callable(module):
            raise ValueError(f"{name}: expected a module or a function, found {type(module).__name__}")  # noqa: TRY004
        if not isinstance(argument, Tensor | tuple):
            raise ValueError(  # noqa: TRY004
                "input: expected a tensor, a tuple of arguments, or a mapping from each name to one of these, found "
                f"{type(argument).__name__}"
            )
    return cases


def reference_of(modules: Mapping[str, object], reference: str | None) -> str:
    """Return the name asked for, else that of the only layer or cell of torch.nn, else the first.

    Raises ValueError if no module has the name that was asked for.
    """
    if reference is None:
        layers = [name for name, module in modules.items() if is_torchs(module)]
        return layers[0] if len(layers) == 1 else next(iter(modules))
    if reference not in modules:
        raise ValueError(f"reference: no module has the name {reference!r}; expected one of {', '.join(modules)}")
    return reference


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield all tensors in nested tuples, lists and mappings, in order."""
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def first_tensor(output: object) -> Tensor | None:
    """Return the tensor that is compared and that backward starts from: a layer's output, and not its state."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) else next(tensors_in(output), None)


def keep_values(tensor: Tensor, put_back: ExitStack) -> Tensor:
    """Restore a tensor's values when `put_back` closes, and return a copy of them.

    They are written only if they differ, since a graph may hold the tensor.
    """
    values = tensor.detach().clone()

    def restore() -> None:
        if not same_values(tensor, values):
            copy_values(tensor.data, values)

    put_back.callback(restore)
    return values


def keep_process(put_back: ExitStack) -> None:
    """Restore torch's settings, the current GPU and the states of all random generators when `put_back` closes."""
    put_back.callback(global_state.restore, global_state.capture())
    if gpus():
        put_back.callback(torch.cuda.set_device, torch.cuda.current_device())
    put_back.enter_context(torch.random.fork_rng(gpus()))
    put_back.callback(random.setstate, random.getstate())
    put_back.callback(np.random.set_state, np.random.get_state())


@contextmanager
def calls_on_trial() -> Iterator[None]:
    """Put the process back after calls, which are made outside of inference mode: its tensors count no changes."""
    with torch.inference_mode(mode=False), ExitStack() as put_back:
        keep_process(put_back)
        yield


def gpus() -> list[int]:
    """Return the GPUs whose random generators may be in use; this call does not initialize CUDA."""
    cuda: Any = torch.cuda  # partly untyped in torch
    return list(range(cuda.device_count())) if cuda.is_initialized() else []


def keep_tensors(module: object, put_back: ExitStack) -> None:
    """Restore a module's parameters and buffers when `put_back` closes: a hook may be an optimizer's step."""
    for owner in module.modules() if isinstance(module, nn.Module) else ():
        for name, tensor in (*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)):
            if not is_lazy(tensor):
                put_back.callback(setattr, owner, name, tensor)
                keep_values(tensor, put_back)


def movable_weights(modules: Iterable[object], put_back: ExitStack) -> list[nn.Parameter]:
    """Return the parameters whose values may be moved in memory; they are back in place when `put_back` closes.

    Parameters that share memory, that are not contiguous or whose class is a subclass of Parameter stay in place.
    """
    weights = [
        weight
        for module in modules
        if isinstance(module, nn.Module)
        for weight in module.parameters()
        if type(weight) is nn.Parameter and weight.is_contiguous() and not weight.is_inference()
    ]
    of_storage = Counter(weight.untyped_storage().data_ptr() for weight in weights)
    movable = [weight for weight in weights if of_storage[weight.untyped_storage().data_ptr()] == 1]
    for weight in movable:
        put_back.callback(setattr, weight, "data", weight.data)
    return movable


def move_weights(weights: Sequence[nn.Parameter], rng: random.Random) -> None:
    """Copy weights to other places in memory, each at a random distance from the start of its new storage.

    Their places change the time of a call by some percent.
    """
    with torch.no_grad():
        for weight in rng.sample(weights, len(weights)):
            before = rng.randrange(PAGE_LINES) * CACHE_LINE // weight.element_size()
            place = torch.empty(before + weight.numel(), dtype=weight.dtype, device=weight.device)[before:]
            weight.data = place.view(weight.shape).copy_(weight)


def timed_call(case: LiveCase, phase: Phase, put_back: ExitStack) -> TimedCall:
    """Return the call of a phase. `put_back` restores the gradients and weights that it changes.

    `inference`: forward, under `torch.inference_mode`, or `torch.no_grad` if the module takes gradients in its own
    steps. `training`: forward and backward, from a fixed gradient of the output to all gradients that are required.
    `step`: also a step of Adam; a learning rate of zero does the same arithmetic.
    """
    forward = partial(case.run, *case.args)
    if phase == "inference":
        return TimedCall(forward, torch.no_grad if fails_in_inference_mode(forward) else torch.inference_mode)
    with with_gradients():
        output = first_tensor(forward())
    if output is None or not output.requires_grad:
        raise ValueError("its output needs no gradient, so there is no backward; time it in the phase `inference`")
    direction = fixed_direction(output, output.shape)
    leaves = list({id(leaf): leaf for leaf in (*case.parameters(), *_leaves(output))}.values())
    for leaf in leaves:
        put_back.callback(setattr, leaf, "grad", leaf.grad)
    optimizer = None
    if phase == "step":
        input_ids = {id(tensor) for tensor in tensors_in(case.args)}
        weights: list[Any] = [leaf for leaf in leaves if leaf.requires_grad and id(leaf) not in input_ids]
        if not weights:
            raise ValueError("has no parameters that an optimizer could step; time it in the phase `training`")
        for weight in weights:
            keep_values(weight, put_back)  # zero times an infinite or NaN gradient is not zero
        optimizer = resting(torch.optim.Adam, weights)

    def call() -> None:
        for leaf in leaves:
            leaf.grad = None  # otherwise backward would add to the gradients of the previous call
        result: Any = first_tensor(forward())  # not None, as in the call above
        result.backward(direction)
        if optimizer is not None:
            optimizer.step()

    return TimedCall(call, with_gradients)


def _leaves(output: Tensor) -> Iterable[Tensor]:
    """Yield the tensors that receive gradients in `backward`, including those that a function only refers to."""
    seen = set()
    waiting = [output.grad_fn]
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

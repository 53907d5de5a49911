"""The modules and functions that a measurement compares, and what one timed call of each phase does.

Their outputs are compared before timing starts and again afterwards, and the cause of a difference is looked for. What
the calls change in the process and in the modules is restored.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from rnnbench.adapt.order import Order, has_order, input_order
from rnnbench.cells.states import copy_values, fails_in_inference_mode, same_values
from rnnbench.harness import devices
from rnnbench.harness.devices.self_test import why_not_timed
from rnnbench.harness.live.loop import named
from rnnbench.harness.machine import global_state
from rnnbench.store.parity import IS_REFERENCE, Parity
from rnnbench.store.records import Phase
from rnnbench.text import error_in_words
from rnnbench.workloads.observe import share_done_again
from rnnbench.workloads.parity import TOLERANCES, relative_error
from rnnbench.workloads.phases import TimedCall, fixed_direction, resting

ORDERS = ("steps first", "batch first")


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


def check_phase(phase: object, known: Sequence[str]) -> None:
    """Raise ValueError unless a phase is one of those that the function takes."""
    if isinstance(phase, str) and phase in known:
        return
    more = ""
    if not isinstance(phase, str):
        more = "; rnnbench.sweep takes several"
    elif phase in get_args(Phase):
        more = f"; a suite measures {phase}, by `rnnbench run`"
    raise ValueError(f"phase: expected one of {', '.join(known)}, found {phase!r}{more}")


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


def cases_of(modules: Mapping[str, Callable[..., object]], input: object) -> dict[str, LiveCase]:
    """Return the cases by name; raises ValueError if names, modules and inputs do not fit together."""
    if not isinstance(modules, Mapping) or len(modules) < 2 or not all(isinstance(name, str) for name in modules):
        raise ValueError(
            "modules: expected a mapping from names to two or more modules, such as {'mine': mine, 'torch': "
            f"nn.LSTM(...)}}; found {', '.join(map(str, modules)) or 'none'}"
        )
    if isinstance(input, Mapping) and set(input) != set(modules):
        raise ValueError(
            f"input: a mapping has the modules' names ({', '.join(modules)}), found {', '.join(map(str, input))}; "
            "an argument that is a mapping itself goes into a tuple"
        )
    cases = {}
    for name, module in modules.items():
        given: Any = input[name] if isinstance(input, Mapping) else input
        cases[name] = LiveCase(name, module, given if type(given) is tuple else (given,))  # not a PackedSequence
        if not callable(module):
            raise ValueError(f"{name}: expected a module or a function, found {type(module).__name__}")  # noqa: TRY004
        if not isinstance(given, Tensor | tuple):
            raise ValueError(  # noqa: TRY004
                "input: expected a tensor, a tuple of arguments, or a mapping from each name to one of these, found "
                f"{type(given).__name__}"
            )
    return cases


def reference_of(modules: Mapping[str, object], asked: str | None) -> str:
    """Return the name asked for, else that of the only layer or cell of torch.nn, else the first.

    Raises ValueError if no module has the name that was asked for.
    """
    if asked is None:
        layers = [name for name, module in modules.items() if is_torchs(module)]
        return layers[0] if len(layers) == 1 else next(iter(modules))
    if asked not in modules:
        raise ValueError(f"reference: no module {asked!r}; there are {', '.join(modules)}")
    return asked


def in_order(cases: Mapping[str, LiveCase], reference: str) -> dict[str, LiveCase]:
    """Return the cases with their orders, those marked whose batch is in another place than the reference's.

    A case of unknown order counts as turned if its input is the reference's, transposed. Raises ValueError for two that
    would run an input of equal shape as other numbers of sequences and steps.
    """
    ordered = {name: replace(case, order=input_order(case.run, *case.args)) for name, case in cases.items()}
    like = ordered[reference]
    for name, case in ordered.items():
        if name == reference or not (has_order(case.input) and has_order(like.input)):
            continue
        if case.order not in ORDERS or like.order not in ORDERS:
            ordered[name] = replace(case, is_turned=_is_transposed(case.input, like.input))
        elif case.order != like.order:
            if not _is_swapped(case.input, like.input):
                one, two = (name, reference) if case.order == "batch first" else (reference, name)
                raise ValueError(
                    f"{one} reads (batch, seq, ...) and {two} reads (seq, batch, ...), so they would run other numbers "
                    f"of steps of {tuple(case.input.shape)}: give each its own, "
                    f"input={{{one!r}: x.transpose(0, 1), {two!r}: x}}"
                )
            ordered[name] = replace(case, is_turned=True)
    return ordered


def _is_swapped(input: Tensor, like: Tensor) -> bool:
    """Return whether an input has the first two sizes of another one in the other order, and is not the same tensor."""
    swapped = (like.shape[1], like.shape[0])
    return input.shape[:2] == swapped and (input is not like or swapped == (1, 1))


def _is_transposed(input: Tensor, like: Tensor) -> bool:
    """Return whether an input is another one with its first two dimensions in the other order."""
    return _is_swapped(input, like) and torch.equal(input.transpose(0, 1), like)


def unknown_orders(cases: Mapping[str, LiveCase], reference: str, parity: Mapping[str, Parity]) -> list[str]:
    """Return a note on each case that may have run other numbers of steps than the reference, as far as is known.

    `parity`: of each case. Equal outputs are of equal work, and so are as many steps as sequences.
    """
    notes = []
    like = cases[reference]
    for name, case in cases.items():
        unknown = [each for each in (name, reference) if cases[each].order == "unknown"]
        input = case.input
        is_safe = name == reference or parity[name].is_equal_work or "either" in (case.order, like.order)
        if is_safe or not unknown or not (has_order(input) and has_order(like.input)):
            continue
        first, second = input.shape[:2]
        if first == second or input.shape[:2] != like.input.shape[:2]:
            continue
        notes.append(
            f"Whether {' and '.join(unknown)} reads (seq, batch, ...) or (batch, seq, ...) could not be found out. If "
            f"{name} and {reference} differ in that, one ran {first} steps of {second} sequences and the other "
            f"{second} steps of {first}, and their ratio means nothing: then give each its own input, "
            "x.transpose(0, 1) for the one that reads (batch, seq, ...)."
        )
    return notes


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
        given = {id(tensor) for tensor in tensors_in(case.args)}
        weights: list[Any] = [leaf for leaf in leaves if leaf.requires_grad and id(leaf) not in given]
        if not weights:
            raise ValueError("has no parameters that an optimizer could step; time it in the phase `training`")
        for weight in weights:
            keep_values(weight, put_back)  # zero times an infinite or NaN gradient is not zero
        optimizer = resting(torch.optim.Adam, weights)

    def call() -> None:
        for leaf in leaves:
            leaf.grad = None  # otherwise backward would add to the gradients of the previous call
        made: Any = first_tensor(forward())  # not None, as in the call above
        made.backward(direction)
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


def outputs(cases: Mapping[str, LiveCase], reference: str) -> dict[str, Tensor]:
    """Return the first tensor of each case's result, all from the same state of the random generators.

    Dimensions are in the reference's order. Raises ValueError for a case that returns no tensor or writes into its
    input, and for outputs on several devices or on a device that can't be used. An error of a case has the case's name
    in front.
    """
    by_case = {}
    for name, case in cases.items():
        is_unrolled = isinstance(getattr(case.run, "cell", None), nn.Module)  # a cell, as a layer
        is_own = isinstance(case.run, nn.Module) and not isinstance(case.run, nn.RNNBase) and not is_unrolled
        hint = f"; if {type(case.run).__name__} is a cell (one step of a sequence), measure rnnbench.unroll(cell)"
        given = list(tensors_in(case.args))
        with ExitStack() as put_back, torch.no_grad(), torch.random.fork_rng(gpus()):
            for tensor in given:
                keep_values(tensor, put_back)
            # torch counts no changes of tensors of inference mode.
            before = [(tensor, tensor._version) for tensor in given if not tensor.is_inference()]
            with named(name, hint if is_own else ""):
                output = first_tensor(case.run(*case.args))
                if output is None:
                    raise ValueError("returns no tensor; expected a tensor, or a tuple with the output first")
                by_case[name] = output.clone()  # at once: work that is left to a thread comes too late
                if any(tensor._version != version for tensor, version in before):
                    raise ValueError("changes its input in place, but later calls reuse it; work on a copy")
    found = sorted({str(output.device) for output in by_case.values()})
    if reason := "put all modules and inputs on one" if len(found) > 1 else why_not_timed(*found):
        raise ValueError(f"outputs are on {' and '.join(found)}: {reason}")
    return {name: _in_order_of(by_case[reference], output, cases[name]) for name, output in by_case.items()}


def _in_order_of(expected: Tensor, output: Tensor, case: LiveCase) -> Tensor:
    """Return the output of a case with its first two dimensions in the order of the reference's output.

    With as many steps as sequences, a turned case may have turned its output back: then the nearer one is taken.
    """
    input = case.input
    if not case.is_turned or output.dim() < input.dim() or output.shape[:2] != input.shape[:2]:
        return output
    turned = output.transpose(0, 1)
    if output.shape == expected.shape and relative_error(output, expected) < relative_error(turned, expected):
        return output
    return turned


def parity(found: Mapping[str, Tensor], reference: str) -> dict[str, Parity]:
    """Return whether each output agrees with that of the reference; raises ValueError if shapes differ."""
    expected = found[reference]
    for name, output in found.items():
        if output.shape != expected.shape:
            raise ValueError(
                f"{name} gives an output of shape {tuple(output.shape)}, and {reference} of {tuple(expected.shape)}: "
                "they do not do the same work, or `batch_first` is not set alike"
            )
    if unsound := _not_finite(expected):
        beside = Parity("beside unsound", why=reference)
        return dict.fromkeys(found, beside) | {reference: Parity("reference", unsound=unsound)}
    return {name: _compared(output, expected) for name, output in found.items()} | {reference: IS_REFERENCE}


def _compared(output: Tensor, expected: Tensor) -> Parity:
    """Return that two outputs agree, or by how much an output differs from the expected one of the same shape."""
    if unsound := _not_finite(output):
        return Parity("unsound", unsound=unsound)
    own = str(output.dtype).removeprefix("torch.")
    other = str(expected.dtype).removeprefix("torch.")
    types = None if own == other else (own, other)
    error = relative_error(output, expected)
    tolerances = dict[Any, float](TOLERANCES)
    rounded = (rounded_to(tensor.dtype.to_real(), str(tensor.device)) for tensor in (output, expected))
    if error <= max(tolerances.get(dtype, 0.0) for dtype in rounded):  # 0 for whole numbers
        return Parity("agrees", types=types)
    return Parity("differs", size=error, types=types)


def _not_finite(output: Tensor) -> tuple[int, int] | None:
    """Return how many values are NaN or infinite, and of how many; None if none is."""
    count = int((~torch.isfinite(output)).sum())
    return (count, output.numel()) if count else None


def rounded_to(dtype: torch.dtype, device: str) -> str:
    """Return the type to which products on a device may round: tf32 for float32 where torch's settings allow it."""
    is_tf32 = dtype == torch.float32 and "tf32" not in devices.backend(device).lacks
    return "tf32" if is_tf32 and any(global_state.tf32_allowed()) else str(dtype).removeprefix("torch.")


def uneven(dtype: torch.dtype, device: str) -> str:
    """Say why one case's arithmetic is less precise than another's; empty if no case's is."""
    layers, products = global_state.tf32_allowed()
    if rounded_to(dtype, device) != "tf32" or layers == products:
        return ""
    coarse, fine = ("cuDNN's layers", "matrix products") if layers else ("matrix products", "cuDNN's layers")
    return (
        f"{coarse} may use TF32 and {fine} may not: set torch.backends.cudnn.allow_tf32 and "
        "torch.set_float32_matmul_precision alike for equal precision."
    )


def compared_again(
    cases: Mapping[str, LiveCase], reference: str, before: Mapping[str, Parity]
) -> tuple[dict[str, Parity], list[str]]:
    """Return the parity of each case after timing, and notes on why it could not be checked.

    `before`: the parity before timing, which stays if it still holds. The inputs get new values in place: the old ones,
    each tensor's rolled by one place, so that they stay in their domain. Cases with inputs of their own keep them,
    since a layout of another order would roll otherwise.
    """
    compared = dict(before)
    first, *others = [list(tensors_in(case.args)) for case in cases.values()]
    is_shared = all(list(map(id, other)) == list(map(id, first)) for other in others)
    try:
        with ExitStack() as put_back:
            for tensor in first if is_shared else ():
                # Not one that is expanded, whose values share memory.
                if tensor.is_floating_point() and 0 not in tensor.stride() and not tensor.is_inference():
                    tensor.data.copy_(keep_values(tensor, put_back).roll(1))
            for name, after in parity(outputs(cases, reference), reference).items():
                if after.kind != before[name].kind:
                    compared[name] = replace(after, is_late=True)
        notes = []
        for name, share in _kept_results(cases).items():
            if compared[name].is_equal_work:
                compared[name] = Parity("cached", size=share)
            else:
                notes.append(f"{name} does {share:.0%} of its multiply-adds when the same values come again.")
    except Exception as error:  # nothing is wrong with the times: a module may not take other values
        return compared, [f"Outputs could not be compared again after timing: {error_in_words(error)}."]
    return compared, notes


def _kept_results(cases: Mapping[str, LiveCase]) -> dict[str, float]:
    """Return the cases that keep results by the values of their input: the share of the work that a second call does.

    Each gets values that it has not seen, also in an earlier measurement: its own, moved by some places and, if they
    are floats, a little smaller. What an exception says is left to the caller.
    """
    shares = {}
    draw = random.Random()  # its own: that of the process is set back after each measurement
    for name, case in cases.items():
        with ExitStack() as put_back:
            for tensor in tensors_in(case.args):
                has_values = tensor.is_floating_point() or tensor is case.input  # other whole numbers may be lengths
                if has_values and 0 not in tensor.stride() and not tensor.is_inference():
                    moved = keep_values(tensor, put_back).flatten().roll(draw.randrange(tensor.numel() or 1))
                    scale = draw.uniform(0.9, 1.0) if tensor.is_floating_point() else 1
                    tensor.data.copy_((moved * scale).view_as(tensor))
            share = share_done_again(partial(case.run, *case.args), torch.no_grad)
        if share is not None:
            shares[name] = share
    return shares

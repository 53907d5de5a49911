"""Find the fastest way to run a user's recurrent module at each shape: the work of `rnnbench.fastest(...)`."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells.foreign.structures import on_trial, rebuilt
from rnnbench.cells.states import BATCHED, State, leaves
from rnnbench.harness import devices, live
from rnnbench.harness.fastest.comparison import RunSubject, varies, why_not
from rnnbench.harness.fastest.kinds import run_module, why_only_as_given
from rnnbench.harness.fastest.module import FoundWays
from rnnbench.harness.fastest.run_module import RunModule
from rnnbench.harness.fastest.selection import rounds_on, select
from rnnbench.harness.fastest.timed_ways import CallShape, TimedWay, from_rows
from rnnbench.harness.fastest.ways import AS_GIVEN, WayName, is_batch_first, names
from rnnbench.harness.live.put_back import keep_gradient, keep_process, keep_tensors
from rnnbench.harness.turns.progress import Progress

PHASES = ("inference", "training")


def find(
    module: nn.Module,
    input: Any,
    phase: str,
    shapes: Iterable[Sequence[int]] | None,
    budget_seconds: float,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> FoundWays:
    """Measure the ways to run a module; see `rnnbench.fastest`. Raises TypeError and ValueError for other arguments."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: expected a torch module, found {type(module).__name__}")
    if phase not in PHASES:
        raise ValueError(f"phase: expected one of {', '.join(PHASES)}, found {phase!r}")
    deadline = time.monotonic() + budget_seconds
    turns = is_batch_first(module)
    first, state = _first(input, turns)
    run = run_module(module, first, state)
    inputs = [(first, state), *((other, None) for other in _others(shapes, first, turns))]
    # Copies are measured: a call may change more of a module than can be put back.
    subjects = [
        RunSubject(on_trial(run.module), run.kind, given, _begun(run, given, begun, is_given=state is not None))
        for given, begun in inputs
    ]
    timed: list[TimedWay] = []
    for number, subject in enumerate(subjects):
        now = time.monotonic()
        until = now + max(0.0, deadline - now) / (len(subjects) - number)
        timed += _of_shape(subject, phase, until, on_progress)
    return FoundWays(module, run, tuple(timed))


def _begun(run: RunModule, input: Tensor, state: State, *, is_given: bool) -> State:
    """The state at one shape, without gradients; zeros at further shapes if one `is_given` for the first."""
    begun = run.zeros(input) if is_given and state is None else run.first_state(input, state)
    return begun if begun is None else rebuilt(begun, (part.detach() for part in leaves(begun)))


def with_ways(module: nn.Module, input: Any, ways: Iterable[Mapping[str, Any]]) -> FoundWays:
    """A module with ways that are known already, without a measurement; raises as `find` and `from_rows` do."""
    first, state = _first(input, is_batch_first(module))
    return FoundWays(module, run_module(module, first, state), tuple(from_rows(ways)))


def _first(input: Any, turns: bool) -> tuple[Tensor, State]:
    """The input (seq, batch, features) and the state of a call as the user makes it."""
    given, state = input if isinstance(input, tuple) and len(input) == 2 else (input, None)
    if not isinstance(given, Tensor) or given.dim() < (BATCHED if given.is_floating_point() else BATCHED - 1):
        what = f"a tensor of shape {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise ValueError(
            f"input: expected (seq, batch, features), whole numbers (seq, batch), or (input, state); found {what}"
        )
    if not given.numel():
        raise ValueError(f"input: expected sizes of 1 or more, found {tuple(given.shape)}")
    if reason := devices.why_not(str(given.device)):
        raise ValueError(f"input: {reason}")
    return given.transpose(0, 1) if turns else given, state


def _others(shapes: Iterable[Sequence[int]] | None, like: Tensor, turns: bool) -> list[Tensor]:
    """Random inputs (seq, batch, features) of more shapes, which are given in the module's own layout."""
    made = []
    generator = torch.Generator(device=like.device).manual_seed(0)  # the user's own stays as it is
    for shape in shapes or ():
        sizes = list(shape)
        if not (2 <= len(sizes) <= BATCHED and all(isinstance(size, int) and size > 0 for size in sizes)):
            raise ValueError(f"shapes: expected (seq, batch) or (seq, batch, features), each 1 or more; found {sizes}")
        first, second, *features = sizes
        if features and features != list(like.shape[2:]):
            raise ValueError(f"shapes: the input has {like.shape[-1]} features, found {sizes}")
        steps, batch = (second, first) if turns else (first, second)
        sizes, device = [steps, batch, *like.shape[2:]], like.device
        if like.is_floating_point():
            made.append(torch.randn(sizes, dtype=like.dtype, device=device, generator=generator))
        else:  # numbers that the module takes
            made.append(like.flatten()[torch.randint(like.numel(), sizes, device=device, generator=generator)])
    return made


def _of_shape(
    subject: RunSubject, phase: str, deadline: float, on_progress: Callable[[Progress], None]
) -> list[TimedWay]:
    """Compare and time all ways at one shape, and restore everything that is changed in this process."""
    shape = CallShape.of(subject.input, trains=phase == "training")
    reasons: dict[WayName, str] = {}
    with ExitStack() as put_back:
        keep_process(put_back)
        keep_tensors(subject.module, put_back)
        for parameter in subject.module.parameters():
            keep_gradient(parameter, put_back)
        every = names(subject.module, subject.kind, subject.input, subject.state)
        of_all = why_only_as_given(subject.module, subject.kind) or varies(subject)
        for name in every[1:]:
            if reason := of_all or why_not(subject, name, phase):
                reasons[name] = reason
        calls: dict[str, Any] = {name: partial(subject.run, name) for name in every if name not in reasons}
        if len(calls) == 1:
            return [
                TimedWay(shape, AS_GIVEN, is_chosen=True),
                *(TimedWay(shape, name, reason=reasons[name]) for name in every[1:]),
            ]
        with live.ready(calls, (), phase, AS_GIVEN) as prepared:  # type: ignore[arg-type]
            take = rounds_on(devices.open_device(prepared.device), on_progress)
            found = select(prepared.calls, AS_GIVEN, take, deadline)
    return [
        TimedWay(
            shape,
            name,
            found.seconds[name],
            found.ratios[name].value,
            found.ratios[name].lower,
            found.ratios[name].upper,
            found.rounds[name],
            is_chosen=name == found.fastest,
            is_sure=found.is_sure or name != found.fastest,
        )
        if name in calls
        else TimedWay(shape, name, reason=reasons[name])
        for name in every
    ]

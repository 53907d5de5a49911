"""A compiled way that serves other batch sizes than the one it has code for, once a trial has shown that it may."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from rnnbench.adapt.contract import on_trial
from rnnbench.cells import CellError
from rnnbench.cells.states import State, leaves, rebuilt, tensors_of
from rnnbench.harness.live.live_cases import keep_process
from rnnbench.speedup.batches import are_close, rows_are_apart, run_in_batches
from rnnbench.speedup.kept.code import BatchResults, RunParts, StateParts
from rnnbench.workloads.parity import TOLERANCES

ModuleWay = Callable[[Any, Tensor, State], Any]  # see `rnnbench.speedup.ways`


@cache
def in_batches(by: ModuleWay, without: ModuleWay, batch_size: int, dim: int) -> ModuleWay:
    """Return a way that runs `by` in calls of this batch size; nothing is compiled for that.

    `without`: the way of the same module without a compiler. It runs a module whose rows have an effect on each other,
    and with it the outputs of the first call of each shape and mode are compared. `dim`: of the batch in input and
    outputs.
    """
    trials: WeakKeyDictionary[nn.Module, dict[Any, bool]] = WeakKeyDictionary()

    def of_batches(module: nn.Module, input: Tensor, state: State) -> Any:
        with torch.compiler.set_stance("eager_on_recompile"):  # should code not fit nevertheless
            of_module = trials.setdefault(module, {})
            key = input.shape, tuple(part.training for part in module.modules())
            if key not in of_module:
                of_module[key] = _is_right(by, without, module, input, state, batch_size, dim)
            if not of_module[key]:
                return without(module, input, state)
            forms: list[Any] = []
            parts = () if state is None else leaves(state)
            outputs, final = run_in_batches(_by_parts(by, module, state, forms), input, parts, batch_size, dim)
        form = forms[0]
        return (outputs, rebuilt(form[1], iter(final))) if _has_state(form) else outputs

    return of_batches


def call_by_step(layer: Any, input: Tensor, state: State) -> tuple[Tensor, State]:
    """Call a layer of torch.nn as it is, with an input (seq, batch, features), whichever it reads first."""
    if not layer.batch_first:
        return layer(input, state)  # type: ignore[no-any-return]
    outputs, final = layer(input.transpose(0, 1), state)
    return outputs.transpose(0, 1), final


def _has_state(result: Any) -> bool:
    """Return whether a call has returned outputs and a state, and not outputs alone."""
    return isinstance(result, tuple) and len(result) == 2


def _by_parts(by: ModuleWay, module: nn.Module, like: State, forms: list[Any]) -> RunParts:
    """Return a way for a state in parts; what each call returns is added to `forms`."""

    def run(input: Tensor, parts: StateParts) -> BatchResults:
        result = by(module, input, rebuilt(like, iter(parts)) if parts else like)
        forms.append(result)
        return (result[0], tuple(tensors_of(result[1]))) if _has_state(result) else (result, ())

    return run


def _is_right(
    by: ModuleWay, without: ModuleWay, module: nn.Module, input: Tensor, state: State, batch_size: int, dim: int
) -> bool:
    """Return whether a module gives the same in batches; says so if its rows have an effect on each other."""
    parts = () if state is None else leaves(state)
    is_right = False
    with ExitStack() as put_back, suppress(CellError):  # of a state that is not made of tensors
        keep_process(put_back)
        expected = _by_parts(without, on_trial(module), state, [])(input, parts)
        tolerance = TOLERANCES.get(str(expected[0].dtype).removeprefix("torch."), 0.0)  # type: ignore[call-overload]
        if rows_are_apart(module, lambda trial: _by_parts(without, trial, state, []), input, parts, dim):
            run = _by_parts(by, on_trial(module), state, [])
            is_right = are_close(run_in_batches(run, input, parts, batch_size, dim), expected, tolerance)
    if not is_right:
        name = type(getattr(module, "given", module)).__name__
        warnings.warn(
            f"{name} runs without compiled code at batch {input.shape[dim]}: its results depend on the other sequences "
            "of a batch, on random numbers or on earlier calls",
            stacklevel=2,
        )
    return is_right

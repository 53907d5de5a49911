"""A sequence of a batch is computed by itself: no row of the batch has an effect on another one."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from rnnbench.adapt.contract import TRIAL_ROWS, on_trial, seed
from rnnbench.cells import CellError

ROUNDING_SHARE = 1e-3  # of the largest value: the most that rounding may change
ROW_CHANGE = 3.0  # is added to each value of the first row

Results = Callable[[nn.Module, Tensor, tuple[Tensor, ...]], Sequence[Tensor]]  # of a module, an input and a state


def check_rows_apart(module: nn.Module, run: Results, input: Tensor, state: Sequence[Tensor]) -> None:
    """Raise CellError if a sequence of the batch has an effect on what a module gives for another one.

    All tensors have the batch first; `run` calls the copy of the module that it is given. The copy is in evaluation,
    since batch normalisation mixes sequences in training. A module that can't be copied, draws random numbers or fails
    is not refused here.
    """
    trial = on_trial(module)
    if trial is module:
        return
    trial.eval()
    mixed = ""
    for rows in dict.fromkeys((TRIAL_ROWS, len(input))):  # a module that is built for its batch takes no other
        of_rows = torch.arange(rows) % len(input)
        with suppress(Exception), torch.no_grad(), torch.random.fork_rng(devices=[]):  # whatever a stranger's code does
            mixed = _mixed(trial, run, input[of_rows], [part[of_rows] for part in state])
            break
    if mixed:
        raise CellError(
            f"{type(module).__name__} mixes the sequences of a batch: row 1 of its output depends on row 0 of its "
            f"{mixed}; expected each sequence by itself. If its rows are the nodes of a tree or a graph, time it as a "
            "function: rnnbench.measure"
        )


def _mixed(module: nn.Module, run: Results, input: Tensor, state: Sequence[Tensor]) -> str:
    """Return `input` or `state` if its first row has an effect on other rows of the results; else an empty text."""

    def results(x: Tensor, parts: Sequence[Tensor]) -> list[Tensor]:
        seed(0)
        state_parts = tuple(part.clone() for part in parts)
        return [part[1:].clone() for part in run(on_trial(module), x.clone(), state_parts)]

    seed(1)
    x = torch.randn_like(input) if input.is_floating_point() else input
    parts = [part + torch.rand_like(part) if part.is_floating_point() else part for part in state]
    expected = results(x, parts)
    if not all(map(torch.equal, expected, results(x, parts))):
        return ""
    changed = x.clone()
    changed[0] = x[0] + ROW_CHANGE if x.is_floating_point() else x[0] // 2  # which is a token, too
    others = [part.clone() for part in parts]
    for part in others:
        if part.is_floating_point():
            part[0] += ROW_CHANGE
    for what, result in (("input", results(changed, parts)), ("state", results(x, others))):
        if any(map(_are_apart, result, expected)):
            return what
    return ""


def _are_apart(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors differ by more than rounding; False for whole numbers and what is not finite."""
    is_compared = one.is_floating_point() and bool(one.isfinite().all()) and bool(other.isfinite().all())
    return is_compared and float((one - other).abs().max()) > ROUNDING_SHARE * float(other.abs().max())

"""The order of the dimensions (seq, batch, ...) in which live cases read their inputs."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from rnnbench.adapt.order import has_order, input_order
from rnnbench.harness.live.live_cases import LiveCase
from rnnbench.store.parity import Parity

ORDERS = ("steps first", "batch first")


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
    """Return True if an input has the first two sizes of another one in the other order, and is not the same tensor."""
    swapped = (like.shape[1], like.shape[0])
    return input.shape[:2] == swapped and (input is not like or swapped == (1, 1))


def _is_transposed(input: Tensor, like: Tensor) -> bool:
    """Return True if an input is another one with its first two dimensions in the other order."""
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

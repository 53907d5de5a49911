"""Remedies: each turns a program into one without the needless work of some groups of calls."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.profiling.program import CallGroup, Program, ProgramCall, ProgramRecorder, place


def use_sources(program: Program, groups: Sequence[CallGroup]) -> Program:
    """Use the first argument of each call, such as the source of a copy, in place of its result."""
    return _without(program, [(call, call.args[0]) for call in chain(*groups)])


def use_recorded_results(program: Program, groups: Sequence[CallGroup]) -> Program:
    """Use the recorded results, without gradients, in place of the calls; what they are made of is still made."""
    results = [(call, call.result) for call in chain(*groups)]
    copies = [(call, value.detach().clone() if isinstance(value, Tensor) else value) for call, value in results]
    return replace(_without(program, copies), keeps_views=program.keeps_views)


def use_first_results(program: Program, groups: Sequence[CallGroup]) -> Program:
    """Use the result of each group's first call in place of the others, which compute the same value."""
    return _without(program, [(call, group[0].result) for group in groups for call in group[1:]])


def merge_over_rows(program: Program, groups: Sequence[CallGroup], *, before: bool) -> Program:
    """Make the products of one weight one product: in place of the last or, of rows made `before`, of the first."""
    for group in groups:
        rows = torch.cat([call.rows.detach() for call in group]) if before else None
        with ProgramRecorder() as recorder:
            rows = torch.cat([call.rows for call in group]) if rows is None else rows
            parts = group[0].product(rows, group[0].factors).chunk(len(group))
        there = group[0 if before else -1].ordinal
        program = _without(program, list(zip(group, parts, strict=True)), recorder.calls, there)
    return program


def merge_over_weights(program: Program, groups: Sequence[CallGroup]) -> Program:
    """Make the products of one input with several weights a single product."""
    stacked: dict[Any, list[Tensor]] = {}  # the factors, which all steps share
    for group in groups:
        first = group[0]
        sizes = [int(call.result.shape[-1]) for call in group]
        key = tuple(place(factor) for call in group for factor in call.factors)
        if key not in stacked:
            along = 0 if first.name == "linear" else -1  # its weight is (output, input)
            columns = zip(*([each for each in call.factors if isinstance(each, Tensor)] for call in group), strict=True)
            stacked[key] = [_joined(parts, 0 if parts[0].dim() == 1 else along) for parts in columns]
        with ProgramRecorder() as recorder:
            whole = first.product(first.rows, stacked[key])
            # `chunk` is faster, and a cell would use it.
            parts = whole.chunk(len(sizes), -1) if len(set(sizes)) == 1 else whole.split_with_sizes(sizes, -1)
        program = _without(program, list(zip(group, parts, strict=True)), recorder.calls, first.ordinal)
    return program


def _joined(parts: Sequence[Tensor], along: int) -> Tensor:
    joined = torch.cat([part.detach() for part in parts], dim=along)
    if all(isinstance(part, nn.Parameter) for part in parts):
        return nn.Parameter(joined)
    return joined.requires_grad_(any(part.requires_grad for part in parts))


def _without(
    program: Program,
    replacements: Sequence[tuple[ProgramCall, Any]],
    additions: Sequence[ProgramCall] = (),
    there: int = 0,
) -> Program:
    """Return a program without some calls, each with what takes the place of its result.

    `additions`: calls that are made in their place; `there`: the ordinal of that place.
    """
    gone = {call for call, _ in replacements}
    calls = [call for call in program.calls if call not in gone]
    calls += [replace(call, ordinal=there) for call in additions]
    calls.sort(key=lambda call: call.ordinal)
    instead = {id(call.result): value for call, value in replacements if isinstance(value, Tensor)}
    return replace(program, calls=tuple(calls), instead=program.instead | instead, keeps_views=False)

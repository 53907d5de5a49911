"""Find needless work in a program by its structure alone, without timing anything.

Each suspect says how the call would run without it; `profile` then measures how much time that saves.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnnbench.harness.live.arms import tensors_in
from rnnbench.harness.profiling import recurrence
from rnnbench.harness.profiling.invariants import invariants
from rnnbench.harness.profiling.program import Program, ProgramCall, Storage, depending_on_earlier, storages
from rnnbench.harness.profiling.recurrence import input_of, tensor_key, weight_args
from rnnbench.harness.profiling.remedies import (
    Remedy,
    merge_into_first,
    merge_into_last,
    merge_over_weights,
    stacked_weights,
    use_first_result,
    use_recorded_results,
    use_sources,
)
from rnnbench.store.profiles import CauseKind

COPIES = ("clone", "contiguous", "to", "type", "float", "double")
NEUTRAL = {"add": 0, "radd": 0, "sub": 0, "mul": 1, "rmul": 1, "div": 1, "truediv": 1}
JOINS = ("cat", "concat", "concatenate", "stack", "hstack", "vstack")
GETTER = "get"  # reads a property, such as `tensor.grad`
WAITS = ("item", "tolist", "numpy", "bool", "float", "int", "index", "cpu", "equal", "allclose", "is_nonzero")
COUNTS = ("nonzero", "argwhere", "masked_select", "unique", "unique_consecutive")  # the size is known afterwards
MAX_SUSPECTS = 8
MATRIX = 2  # dimensions
MIN_CALLS = 2  # of a kind: work that a whole sequence does only once is not a cause


@dataclass(frozen=True)
class Suspect:
    """Calls that may be needless."""

    kind: CauseKind
    what: str
    calls: int
    remedies: tuple[Remedy, ...] = ()
    note: str = ""  # why it can't be measured; empty if it can be measured


def suspects(program: Program, *, trained: bool) -> list[Suspect]:
    """All suspects, those with the most calls first; `trained`: whether gradients are computed."""
    calls, dead = program.calls, _dead(program)
    groups = recurrence.by_weight(program)
    repeated = [group for group in _invariants(program) if dead is None or group[0].ordinal not in dead]
    again = {call.ordinal for group in repeated for call in group}
    hoistable, outputs = _hoistable(program, groups, again)
    # Removing the other groups would also remove the gradients that flow back into their inputs.
    kept = [group for group in hoistable if not (trained and any(input_of(call).requires_grad for call in group))]
    covered = again | {call.ordinal for group in (*kept, *outputs) for call in group}
    all_suspects = [
        *_not_hoisted(hoistable, kept),
        *_output_products(outputs),
        *_loop_invariants(repeated),
        *_small_products(program, covered),
        *_copies([call for call in calls if call.ordinal not in again], calls),
        *_joins([call for call in calls if call.ordinal not in again], trained=trained),
        *_waits(calls, dead, trained=trained),
        *_unused(calls, dead),
    ]
    return sorted(all_suspects, key=lambda suspect: -suspect.calls)[:MAX_SUSPECTS]


def _hoistable(
    program: Program, groups: list[list[ProgramCall]], again: set[int]
) -> tuple[list[list[ProgramCall]], list[list[ProgramCall]]]:
    """Groups of products with one weight that don't depend on each other, and so could be a single product.

    First those that could be made before a loop, then those that only read its outputs, as a head does.
    """
    recurrent = [call for group in recurrence.recurrent_groups(program, groups) for call in group]
    excluded = again | {call.ordinal for call in recurrent}
    before: list[list[ProgramCall]] = []
    after: list[list[ProgramCall]] = []
    for group in groups:
        if len(group) < MIN_CALLS or group[0].ordinal in excluded:
            continue
        if len({input_of(call).shape for call in group}) > 1 or input_of(group[0]).dim() != MATRIX:
            continue
        is_output = recurrence.depend(program, group, recurrent) and not recurrence.depend(program, recurrent, group)
        (after if is_output else before).append(group)
    return before, after


def _invariants(program: Program) -> list[list[ProgramCall]]:
    """Values that are computed in every step; a plain copy of one is a copy."""
    groups = invariants(program, recurrence.steps_of(program))
    return [group for group in groups if not (_is_copy(group[0]) and _is_stored_alike(group[0]))]


def _is_stored_alike(call: ProgramCall) -> bool:
    return bool(call.args[0].stride() == call.result.stride())


def _loop_invariants(groups: list[list[ProgramCall]]) -> Iterator[Suspect]:
    """All values that are computed again in every step, together, since one may be made of another."""
    every = [call for group in groups for call in group]
    if every:
        remedies = (use_first_result(group) for group in sorted(groups, key=lambda group: -group[0].ordinal))
        yield Suspect("loop invariant", _described(every), len(every), tuple(remedies))


def _output_products(groups: list[list[ProgramCall]]) -> Iterator[Suspect]:
    """Products that only read the loop's outputs, and so could be made once after it."""
    for group in groups:
        yield Suspect("output product", _described(group), len(group), (merge_into_last(group),))


def _not_hoisted(groups: list[list[ProgramCall]], kept: list[list[ProgramCall]]) -> Iterator[Suspect]:
    """Products that could be made once for all steps; `kept`: the groups whose removal can be measured."""
    if kept:
        every = [call for group in kept for call in group]
        yield Suspect("not hoisted", _described(every), len(every), tuple(map(merge_into_first, kept)))
    elif groups:
        yield Suspect("not hoisted", _described(groups[0]), len(groups[0]), note="gradients flow into their inputs")


def _small_products(program: Program, covered: set[int]) -> Iterator[Suspect]:
    """Products of one input with several weights, which could be a single product with all weights."""
    by_input: dict[Any, list[ProgramCall]] = defaultdict(list)
    for call in recurrence.products(program.calls):
        if call.ordinal not in covered and input_of(call).dim() == MATRIX:
            weights = sum(isinstance(arg, Tensor) for arg in (*call.args, *call.kwargs.values()))
            by_input[call.name, weights, tensor_key(input_of(call))].append(call)
    sets = [
        group
        for group in by_input.values()
        if len(group) >= MIN_CALLS and not any(depending_on_earlier(program, group))
    ]
    if len(sets) < MIN_CALLS:
        return
    made: dict[Any, list[Tensor]] = {}
    remedies = []
    for group in sets:
        key = tuple(tuple(map(tensor_key, weight_args(call))) for call in group)
        if key not in made:
            made[key] = stacked_weights(group)
        remedies.append(merge_over_weights(group, made[key]))
    every = [call for group in sets for call in group]
    yield Suspect("small products", _described(every), len(every), tuple(remedies))


def _copies(calls: Sequence[ProgramCall], every: Sequence[ProgramCall]) -> Iterator[Suspect]:
    """Copies among `calls` of a tensor in new memory, where no later call writes into the tensor or the copy."""
    written = [(call.ordinal, storages(call.args[:1])) for call in every if call.written]
    by_line: dict[str, list[ProgramCall]] = defaultdict(list)
    for call in calls:
        used = call.writes | call.reads
        if _is_copy(call) and not any(ordinal > call.ordinal and into & used for ordinal, into in written):
            by_line[call.where].append(call)
    for group in by_line.values():
        if len(group) >= MIN_CALLS:
            yield Suspect("copy", _described(group), len(group), (use_sources(group),))


def _is_copy(call: ProgramCall) -> bool:
    if not call.args or not isinstance(call.result, Tensor) or call.written:
        return False
    tensor = call.args[0]
    if not isinstance(tensor, Tensor) or tensor.shape != call.result.shape or tensor.dtype != call.result.dtype:
        return False
    if call.name in NEUTRAL and len(call.args) == 2 and not isinstance(call.args[1], Tensor):
        return bool(call.args[1] == NEUTRAL[call.name])
    return call.name in COPIES and not storages(tensor) & storages(call.result)


def _joins(calls: Sequence[ProgramCall], *, trained: bool) -> Iterator[Suspect]:
    """Tensors that are concatenated again and again."""
    by_line: dict[str, list[ProgramCall]] = defaultdict(list)
    for call in calls:
        if call.name in JOINS and isinstance(call.result, Tensor) and not call.written:
            by_line[call.where].append(call)
    for group in by_line.values():
        if len(group) >= MIN_CALLS:
            note = "gradients flow through it" if trained and any(call.result.requires_grad for call in group) else ""
            yield Suspect(
                "concatenation", _described(group), len(group), () if note else (use_recorded_results(group),), note
            )


def _waits(calls: Sequence[ProgramCall], dead: set[int] | None, *, trained: bool) -> Iterator[Suspect]:
    """Values that are read back into Python or to the host, with the work that is done only for them."""
    waits = [call for call in calls if _is_wait(call)]
    by_line: dict[str, list[ProgramCall]] = defaultdict(list)
    for call in waits:
        by_line[call.where].append(call)
    for group in by_line.values():
        if len(group) < MIN_CALLS:
            continue
        feeding = [] if dead is None else list(_feeding(calls, group, dead))
        if trained and any(tensor.requires_grad for call in group for tensor in tensors_in(call.result)):
            yield Suspect("synchronisation", _described(group), len(group), note="gradients flow through it")
            continue
        yield Suspect("synchronisation", _described(group), len(group), (use_recorded_results([*group, *feeding]),))


def _unused(calls: Sequence[ProgramCall], dead: set[int] | None) -> Iterator[Suspect]:
    """Results that nothing uses, not even to compute a value that is read back."""
    if dead is None:
        return
    waits = [call for call in calls if _is_wait(call)]
    fed = {call.ordinal for call in _feeding(calls, waits, dead)}
    by_line: dict[str, list[ProgramCall]] = defaultdict(list)
    for call in calls:
        is_work = isinstance(call.result, Tensor) and not storages(call.result) & call.reads
        if call.ordinal in dead - fed and is_work and call.name != GETTER:
            by_line[call.where].append(call)
    for group in by_line.values():
        if len(group) >= MIN_CALLS:
            yield Suspect("unused", _described(group), len(group), (use_recorded_results(group),))


def _dead(program: Program) -> set[int] | None:
    """Calls whose tensors do not contribute to the returned value; None if not all tensors can be followed."""
    if program.hidden:
        return None
    fresh = {storage for call in program.calls if not call.written for storage in storages(call.result) - call.reads}
    needed, dead = storages(program.returned), set[int]()
    for call in reversed(program.calls):
        lasts = call.written and not call.writes <= fresh  # it changes a tensor that exists before and after the call
        if lasts or call.writes & needed:
            needed |= call.reads
        elif storages(call.result):
            dead.add(call.ordinal)
    return dead


def _feeding(calls: Sequence[ProgramCall], waits: Sequence[ProgramCall], dead: set[int]) -> Iterator[ProgramCall]:
    """Dead calls on which one of `waits` depends."""
    among, needed = {call.ordinal for call in waits}, set[Storage]()
    for call in reversed(calls):
        if call.ordinal in among:
            needed |= call.reads
        elif call.ordinal in dead and call.writes & needed:
            needed |= call.reads
            yield call


def _is_wait(call: ProgramCall) -> bool:
    """Whether Python waits for the device: for a value, for a copy on the host, or for how many values there are."""
    results = list(tensors_in(call.result))
    if not results:
        return call.name in WAITS and bool(call.reads)
    given = [tensor for tensor in tensors_in((call.args, call.kwargs)) if not tensor.is_cpu]
    if not given or call.kwargs.get("non_blocking"):
        return False
    is_masked = call.name == "getitem" and any(tensor.dtype is torch.bool for tensor in given[1:])
    return is_masked or call.name in COUNTS or all(tensor.is_cpu for tensor in results)


def _described(group: Sequence[ProgramCall]) -> str:
    """Names and lines of calls: `clone (my_cell.py:31)`, or with several lines `linear (my_cell.py:31, 33)`."""
    names = list(dict.fromkeys(call.name for call in group))
    lines: dict[str, list[str]] = defaultdict(list)
    for where in sorted({call.where for call in group if call.where}):
        file, _, line = where.rpartition(":")
        lines[file].append(line)
    places = "; ".join(f"{file}:{', '.join(numbers)}" for file, numbers in lines.items())
    return f"{', '.join(names)} ({places})" if places else ", ".join(names)

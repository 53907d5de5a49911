"""Find needless work in a program by its structure alone, without timing anything.

Each suspect gives the program without it; `profile` then measures how much time that saves.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, groupby
from typing import Any

import torch
from torch import Tensor

from rnnbench.harness.live.live_cases import tensors_in
from rnnbench.profiling.program import CallGroup, Program, ProgramCall, Storage, grouped, place, storages
from rnnbench.profiling.remedies import (
    merge_over_rows,
    merge_over_weights,
    use_first_results,
    use_recorded_results,
    use_sources,
)
from rnnbench.store.profiles import Cause, CauseKind

COPY_CALLS = ("clone", "contiguous", "to", "type", "float", "double")
NEUTRAL = {"add": 0, "radd": 0, "sub": 0, "mul": 1, "rmul": 1, "div": 1, "truediv": 1}
JOIN_CALLS = ("cat", "concat", "concatenate", "stack", "hstack", "vstack")
WAIT_CALLS = ("item", "tolist", "numpy", "bool", "float", "int", "index", "cpu", "equal", "allclose", "is_nonzero")
COUNT_CALLS = ("nonzero", "argwhere", "masked_select", "unique", "unique_consecutive")  # the size is known afterwards
MAX_SUSPECTS = 8
MATRIX = 2  # dimensions
MIN_CALLS = 2  # of a kind: work that a whole sequence does only once is not a cause

Remedy = Callable[[Program, Sequence[CallGroup]], Program]  # returns the program without the groups' work
Suspect = tuple[CauseKind, Sequence[CallGroup], Remedy]  # calls that may be needless


def suspects(program: Program, *, trained: bool) -> dict[Cause, Callable[[], Program]]:
    """Return each possible cause with a function that makes the program without it, those with the most calls first.

    `trained`: whether gradients are computed. Work is no suspect if it can't be left out without cutting off gradients
    that flow back through it.
    """
    dead = _dead(program)
    repeated = [group for group in invariants(program) if group[0] not in dead]
    before, after = _mergeable(program, repeated)
    before = [group for group in before if not (trained and any(call.rows.requires_grad for call in group))]
    excluded = {*chain(*repeated, *before, *after)}
    products = [
        call for call in program.calls if call.is_product and call not in excluded and call.rows.dim() == MATRIX
    ]

    def of_input(call: ProgramCall) -> Any:
        return call.name, sum(isinstance(factor, Tensor) for factor in call.factors), place(call.rows)

    # Products of one input with several weights, which could be a single product with all weights.
    by_input = [group for group in grouped(products, of_input) if len(group) >= MIN_CALLS]
    small = [group for group in by_input if not program.is_chain(group)]
    candidates: list[Suspect] = [
        ("output product", after, partial(merge_over_rows, before=False)),
        ("not hoisted", before, partial(merge_over_rows, before=True)),
        ("loop invariant", repeated, use_first_results),  # all together, since one may be made of another
        ("small products", small if len(small) >= MIN_CALLS else [], merge_over_weights),
        *_line_by_line(program, {*chain(*repeated)}, dead, trained=trained),
    ]
    remedies = {_cause(kind, groups): partial(remedy, program, groups) for kind, groups, remedy in candidates if groups}
    return {cause: remedies[cause] for cause in sorted(remedies, key=lambda cause: -cause.calls)[:MAX_SUSPECTS]}


def _cause(kind: CauseKind, groups: Sequence[CallGroup]) -> Cause:
    """Return a cause with the place of its calls: `clone (my_cell.py:31)`, or `linear (my_cell.py:31, 33)`."""
    calls = sorted(chain(*groups), key=lambda call: call.ordinal)
    places = sorted({call.where.rpartition(":")[::2] for call in calls if call.where})
    by_file = groupby(places, lambda pair: pair[0])
    where = "; ".join(f"{file}:{', '.join(line for _, line in lines)}" for file, lines in by_file)
    operators = tuple(dict.fromkeys(call.name for call in calls))
    names = ", ".join(operators)
    return Cause(kind, f"{names} ({where})" if where else names, len(calls), operators=operators)


def invariants(program: Program) -> list[CallGroup]:
    """Return groups of calls that compute one value, in each step or more often; the first call comes first.

    Views are not work, and so are not found. Neither is a value into which something is written, nor a plain copy,
    which is a suspect of its own.
    """
    changed = {
        storage for call in program.calls if call.is_in_place for storage in storages(call.args[:1]) | call.writes
    }
    lasting = [call for call in program.calls if not (call.reads | call.writes) & (changed | program.hidden)]
    tensors = [call for call in lasting if isinstance(call.result, Tensor) and call.result.layout == torch.strided]
    work = [call for call in tensors if not call.writes & call.reads]
    same = grouped(work, lambda call: program.key(call.result))
    groups = [group for group in same if len(group) >= program.steps >= MIN_CALLS]
    with torch.no_grad():  # results of a random function are not equal
        equal = [group for group in groups if all(torch.equal(group[0].result, call.result) for call in group[1:])]
    return [
        group for group in equal if not (_is_copy(group[0]) and group[0].args[0].stride() == group[0].result.stride())
    ]


def _mergeable(program: Program, repeated: Sequence[CallGroup]) -> tuple[list[CallGroup], list[CallGroup]]:
    """Return groups of products with one weight that don't depend on each other, and so could be a single product.

    First those that could be made before a loop, then those that only read its outputs, as a head does.
    """
    groups = [group for group in program.by_weight if len(group) >= MIN_CALLS]
    recurrent = [call for group in groups if program.is_chain(group) for call in group]
    excluded = {*chain(recurrent, *repeated)}
    before = list[CallGroup]()
    after = list[CallGroup]()
    reading = program.following(recurrent)
    for group in (group for group in groups if group[0].is_product):
        are_alike = len({call.rows.shape for call in group}) == 1 and group[0].rows.dim() == MATRIX
        if are_alike and group[0] not in excluded:
            following = program.following(group)
            if reading.isdisjoint(group) or not following.isdisjoint(recurrent):
                before.append(group)
            elif all(call.ordinal > group[-1].ordinal for call in following):  # nothing in the loop needs them
                after.append(group)
    return before, after


def _line_by_line(
    program: Program, repeated: set[ProgramCall], dead: set[ProgramCall], *, trained: bool
) -> Iterable[Suspect]:
    """Yield what a line makes again and again: copies, concatenations, values read back, unused results."""
    calls = program.calls
    waits = [call for call in calls if _is_wait(call)]
    unused = _dead(program, waits)
    last_written: dict[Storage, int] = {
        storage: call.ordinal for call in calls if call.is_in_place for storage in storages(call.args[:1])
    }

    def without_waiting(program: Program, groups: Sequence[CallGroup]) -> Program:
        """Leave out the dead calls that are made for the values, too."""
        fed = dead - _dead(program, chain(*groups))
        return use_recorded_results(program, [*groups, list(fed)])

    cut = {call for call in calls if trained and any(tensor.requires_grad for tensor in tensors_in(call.result))}
    once = [call for call in calls if call not in repeated]
    lasting = [  # copies into which, or into whose sources, no later call writes
        call
        for call in filter(_is_copy, once)
        if all(last_written.get(storage, -1) <= call.ordinal for storage in call.writes | call.reads)
    ]
    new = [call for call in calls if isinstance(call.result, Tensor) and not storages(call.result) & call.reads]
    joins = [
        call for call in once if call.name in JOIN_CALLS and isinstance(call.result, Tensor) and not call.is_in_place
    ]
    chosen: list[tuple[CauseKind, list[ProgramCall], Remedy]] = [
        ("copy", lasting, use_sources),
        ("concatenation", [call for call in joins if call not in cut], use_recorded_results),
        ("synchronisation", [call for call in waits if call not in cut], without_waiting),
        ("unused", [call for call in new if call.name != "get" and call in unused], use_recorded_results),
    ]
    for kind, of_kind, remedy in chosen:
        by_line = grouped(of_kind, lambda call: call.where)
        yield from ((kind, [group], remedy) for group in by_line if len(group) >= MIN_CALLS)


def _is_copy(call: ProgramCall) -> bool:
    if not call.args or not isinstance(call.result, Tensor) or call.is_in_place:
        return False
    tensor = call.args[0]
    if not isinstance(tensor, Tensor) or tensor.shape != call.result.shape or tensor.dtype != call.result.dtype:
        return False
    if call.name in NEUTRAL and len(call.args) == 2 and not isinstance(call.args[1], Tensor):
        return bool(call.args[1] == NEUTRAL[call.name])
    return call.name in COPY_CALLS and not storages(tensor) & storages(call.result)


def _is_wait(call: ProgramCall) -> bool:
    """Return True if Python waits for the device: for a value, for a copy on the host, or for a number of values."""
    results = list(tensors_in(call.result))
    if not results:
        return call.name in WAIT_CALLS and bool(call.reads)
    inputs = [tensor for tensor in tensors_in((call.args, call.kwargs)) if not tensor.is_cpu]
    if not inputs or call.kwargs.get("non_blocking"):
        return False
    is_masked = call.name == "getitem" and any(tensor.dtype is torch.bool for tensor in inputs[1:])
    return is_masked or call.name in COUNT_CALLS or all(tensor.is_cpu for tensor in results)


def _dead(program: Program, needed_calls: Iterable[ProgramCall] = ()) -> set[ProgramCall]:
    """Return calls whose tensors contribute to neither the returned value nor `needed_calls`.

    Empty if not all tensors can be followed.
    """
    if program.hidden:
        return set()
    fresh = {
        storage for call in program.calls if not call.is_in_place for storage in storages(call.result) - call.reads
    }
    needed = storages(program.returned)
    dead = set[ProgramCall]()
    roots = set(needed_calls)
    for call in reversed(program.calls):
        lasts = (
            call.is_in_place and not call.writes <= fresh
        )  # it changes a tensor that exists before and after the call
        if lasts or call.writes & needed or call in roots:
            needed |= call.reads
        elif storages(call.result):
            dead.add(call)
    return dead

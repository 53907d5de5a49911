"""Find values that a program computes again in every step from the same inputs: its loop invariants."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from rnnbench.harness.live.arms import tensors_in
from rnnbench.harness.profiling.program import Program, ProgramCall, storages

MIN_STEPS = 2


def invariants(program: Program, steps: int) -> list[list[ProgramCall]]:
    """Groups of calls that compute one value, in each of `steps` steps or more often; the first call comes first.

    Views are not work, and so are not found. Neither is a value into which something is written.
    """
    if steps < MIN_STEPS:
        return []
    numbers = ValueNumbers()
    same: dict[int, list[ProgramCall]] = defaultdict(list)
    changed = {storage for call in program.calls if call.written for storage in storages(call.args[:1]) | call.writes}
    for call in program.calls:
        number = numbers.of_call(call)
        is_work = isinstance(call.result, Tensor) and not call.writes & call.reads
        if is_work and not (call.reads | call.writes) & (changed | program.hidden):
            same[number].append(call)
    return [group for group in same.values() if len(group) >= steps and _are_equal(group)]


class ValueNumbers:
    """Gives each value of a program a number: equal for results of one function on arguments with equal numbers."""

    def __init__(self, calls: Iterable[ProgramCall] = ()) -> None:
        self._numbers: dict[Any, int] = {}
        self._values: dict[int, int] = {}  # id of a tensor -> its number; a recording holds all tensors
        for call in calls:
            self.of_call(call)

    def of_call(self, call: ProgramCall) -> int:
        """The number of a call's result; calls must be given in order."""
        key = (call.name, self.key(call.function), self.key(call.args), self.key(sorted(call.kwargs.items())))
        number = self._number(("written", call.ordinal) if call.written else key)
        for index, tensor in enumerate(tensors_in(call.result)):
            self._values.setdefault(id(tensor), self._number((number, index)))
        return number

    def key(self, value: Any) -> Any:
        """What is equal for two arguments with equal values."""
        if isinstance(value, Tensor):
            place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
            return self._values.setdefault(id(value), self._number(place))
        if isinstance(value, tuple | list):
            return tuple(map(self.key, value))
        return value if isinstance(value, int | float | str | torch.dtype | None) else repr(value)

    def _number(self, key: Any) -> int:
        return self._numbers.setdefault(key, len(self._numbers) + 1)


def _are_equal(group: Sequence[ProgramCall]) -> bool:
    """Whether all results are equal; those of a random function are not."""
    with torch.no_grad():
        return all(torch.equal(group[0].result, call.result) for call in group[1:])

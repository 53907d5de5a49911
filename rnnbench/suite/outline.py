"""The cases of a suite: its sweeps are expanded, some cases are selected, and put into groups."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnnbench.cells import is_own, parsed, spec
from rnnbench.store.records import (
    DATA_SETS,
    DEFAULTS,
    LOADS,
    OF_DATA,
    OF_STEP,
    TORCH_OWN,
    Case,
    Group,
    Reference,
    Workload,
    axis_text,
    is_cell_reference,
)
from rnnbench.suite.expressions import quoted
from rnnbench.text import nearest


@dataclass(frozen=True)
class SweptAxes:
    """All combinations of these values; `reference`: what the user's own cells are timed against, if anything."""

    values: Mapping[str, Sequence[Any]]  # by axis; cells have the arguments of their constructors
    reference: str | None = None

    def on(self, device: str | None) -> Mapping[str, Sequence[Any]]:
        """Return the values of every axis, on a device if one is given."""
        return self.values if device is None else {**self.values, "device": [device]}

    def layer(self, cell: str) -> Reference:
        """Return what a cell of this sweep is timed against: a layer, a cell, a data set item by item, or nothing."""
        if cell in DATA_SETS:
            return cell
        if self.reference is not None and is_cell_reference(self.reference):
            return self.reference
        return spec(cell, self.reference or "none").reference

    def points(self, device: str | None) -> Iterator[dict[str, Any]]:
        """Yield the axes of all cases. Cells with the same reference share its cases; those without one have none."""
        axes = self.on(device)
        for values in itertools.product(*axes.values()):
            point = dict(zip(axes, values, strict=True))
            point["reference"] = self.layer(point["cell"])
            if point["nonlinearity"] == "sigmoid" and point["reference"] == "rnn":
                point["reference"] = "none"  # torch.nn.RNN has none
            if torch_cells := TORCH_OWN.get(point["implementation"]):
                if point["reference"] not in torch_cells:
                    continue
                point["cell"] = torch_cells[point["reference"]]
            if point["phase"] not in LOADS:
                point |= dict.fromkeys(OF_DATA, 0)
            if point["phase"] != "step":
                point |= {axis: DEFAULTS[axis] for axis in OF_STEP}
            if is_cell_reference(point["reference"]):
                yield {**point, "cell": point["reference"], "implementation": "reference"}
            yield point

    def cases(self, device: str | None) -> Iterator[Case]:
        """Yield the cases."""
        return map(Case.from_axes, self.points(device))


def values(cases: Iterable[Case]) -> dict[str, list[str]]:
    """Return the values of some cases that `only` can name, by axis or argument of constructors."""
    texts_by_name: dict[str, dict[str, None]] = {}
    for case in cases:
        for name, value in _texts(case).items():
            texts_by_name.setdefault(name, {})[value] = None
    return {name: list(texts) for name, texts in texts_by_name.items()}


def grouped(cases: Iterable[Case]) -> list[Group]:
    """Return the groups of these cases by workload; groups and cases are in the order of the cases."""
    members: dict[Workload, list[Case]] = {}
    for case in cases:
        members.setdefault(case.workload, []).append(case)
    return [Group(workload, tuple(group_cases)) for workload, group_cases in members.items()]


def cases_of(groups: Iterable[Group]) -> list[Case]:
    """Return all cases of some groups."""
    return [case for group in groups for case in group.cases]


def with_cases(groups: Iterable[Group], is_kept: Callable[[Case], bool]) -> list[Group]:
    """Return the groups with only the cases that `is_kept` accepts; groups that become empty are left out."""
    smaller_groups = [replace(group, cases=tuple(filter(is_kept, group.cases))) for group in groups]
    return [group for group in smaller_groups if group.cases]


def is_compared(group: Group, is_lost: Callable[[Case], bool]) -> bool:
    """Return False if a group has cases beside its reference, but all of them are lost: nothing is left to compare."""
    others = [case for case in group.cases if not case.is_reference]
    return not others or not all(map(is_lost, others))


def unknown(only: Mapping[str, Sequence[str]], suite_values: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a message for each axis of `only` with values that the suite does not have: the nearest one, and all."""
    return [
        f"{axis}={','.join(map(quoted, missing))}{nearest(missing[0], suite_values[axis])}: "
        f"the suite has {axis}={','.join(map(quoted, suite_values[axis]))}"
        for axis, values in only.items()
        if (missing := [value for value in values if value not in suite_values[axis]])
    ]


def is_selected(case: Case, only: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a case has one of the values of each axis and of each constructor argument in `only`."""
    texts = _texts(case) if only else {}
    return all(texts.get(name) in choices for name, choices in only.items())


def _texts(case: Case) -> dict[str, str]:
    """Return the values of a case as `only` writes them, by axis and by argument of its constructor."""
    return {axis: axis_text(value) for axis, value in case.axes().items()} | arguments_of(case.cell)


def arguments_of(cell: str) -> dict[str, str]:
    """Return the arguments of a user's own cell, as `only` writes their values."""
    return {name: axis_text(value) for name, value in parsed(cell)[1].items()} if is_own(cell) else {}

"""Names of cases: the cell, its implementation, and only those other axes that differ between the cases."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rnnbench.analysis.comparison import Subject
from rnnbench.report.words import series
from rnnbench.report.words.axes import SETTINGS, SIZES, constants, one_line, say_all, several
from rnnbench.store.records import AXES, Case


@dataclass(frozen=True)
class Names:
    """Short, unique names for the cases of one comparison."""

    axes: tuple[str, ...]  # those that differ
    layered: frozenset[str]  # cells with several numbers of layers; elsewhere the number belongs to the cell
    shared: str  # the axes that do not differ, in words; may be empty

    def name(self, case: Subject) -> str:
        """`lstm loop training, batch 16`. A benchmark of another tool keeps the name that its author gave it."""
        if not isinstance(case, Case):
            return one_line(case.key)
        values = case.axes()
        head = f"{series.series_name(case.cell, case.implementation)} {case.workload.phase}"
        axes = [axis for axis in self.axes if axis != "num_layers" or case.cell in self.layered]
        return ", ".join(filter(None, [head, say_all(axes, (values[axis] for axis in axes))]))


def names(cases: Iterable[Subject]) -> Names:
    """The shortest names that tell these cases apart."""
    axes = [case.axes() for case in cases if isinstance(case, Case)]
    frame = pd.DataFrame(axes, columns=[axis for axis in AXES if axis != "cell"])
    kinds = {key: _with_several(axes, key) for key in ("reference", "num_layers")}
    reference = ["reference"] if kinds["reference"] else []
    layered = frozenset(map(str, kinds["num_layers"]))
    return Names((*reference, *several(frame, (*SIZES, *SETTINGS))), layered, constants(frame))


def _with_several(axes: Iterable[Mapping[str, Any]], axis: str) -> set[Any]:
    """The cells with more than one value of an axis. Does not use pandas, which can't hold every name."""
    values: dict[Any, set[Any]] = {}
    for case_axes in axes:
        values.setdefault(case_axes["cell"], set()).add(case_axes[axis])
    return {cell for cell, cell_values in values.items() if len(cell_values) > 1}

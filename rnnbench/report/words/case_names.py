"""Cases by name: the cell, how it is run, and of the other axes just those that differ between the cases."""

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
    """How the cases of one comparison are called."""

    axes: tuple[str, ...]  # those that differ
    layered: frozenset[str]  # cells with several numbers of layers; elsewhere the number belongs to the cell
    shared: str  # the others in words; may be empty

    def name(self, case: Subject) -> str:
        """`lstm loop training, batch 16`; a benchmark of somebody else has the name that its author gave it."""
        if not isinstance(case, Case):
            return one_line(case.key)
        values = case.axes()
        head = f"{series.name(case.cell, case.implementation)} {case.workload.phase}"
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
    """The cells of cases that have more than one value of an axis; not by pandas, which can't hold every name."""
    values: dict[Any, set[Any]] = {}
    for one in axes:
        values.setdefault(one["cell"], set()).add(one[axis])
    return {cell for cell, found in values.items() if len(found) > 1}

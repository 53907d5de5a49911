"""Cases by name: the cell, how it is run, and of the other axes just those that differ between the cases."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from rnnbench.analysis.comparison import Subject
from rnnbench.report import series
from rnnbench.report.axes import SETTINGS, SIZES, constants, one_line, say_all, several
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
    frame = pd.DataFrame([case.axes() for case in cases if isinstance(case, Case)], columns=list(AXES))
    kinds = frame.groupby("cell")[["reference", "num_layers"]].nunique() > 1
    reference = ["reference"] if kinds["reference"].any() else []
    layered = frozenset(map(str, kinds.index[kinds["num_layers"]]))
    return Names((*reference, *several(frame, (*SIZES, *SETTINGS))), layered, constants(frame))

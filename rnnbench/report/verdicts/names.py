"""Cases by name: the cell, how it is run, and of the other axes just those that differ between the cases."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pandas as pd

from rnnbench.analysis.comparison import Subject
from rnnbench.report import series
from rnnbench.report.axes import SETTINGS, SIZES, WORKLOAD, constants, one_line, say_all, several
from rnnbench.store.records import Case


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
    known = [case for case in cases if isinstance(case, Case)]
    # A cell's name is of anyone's making, and texts in a frame can't hold half of a surrogate pair.
    kinds: dict[str, set[tuple[str, int]]] = {}
    for case in known:
        kinds.setdefault(case.cell, set()).add((case.workload.reference, case.workload.num_layers))
    several_references = any(len({reference for reference, _ in found}) > 1 for found in kinds.values())
    layered = frozenset(cell for cell, found in kinds.items() if len({layers for _, layers in found}) > 1)
    frame = pd.DataFrame([asdict(case.workload) for case in known], columns=WORKLOAD)
    reference = ["reference"] if several_references else []
    return Names((*reference, *several(frame, (*SIZES, *SETTINGS))), layered, constants(frame))

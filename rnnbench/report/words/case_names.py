"""Names of cases: within one comparison with only the axes that differ, for other tools the same in every run."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rnnbench.analysis.comparison import Subject
from rnnbench.report.words import series
from rnnbench.report.words.axes import (
    COUNTED,
    OF_MODELS,
    SETTINGS,
    SIZES,
    constants,
    one_line,
    say_all,
    several,
    word,
)
from rnnbench.store.records import AXES, LOADS, OF_DATA, WORKLOAD_AXES, Case, Workload, axis_text, reference_cell
from rnnbench.suite.file import Sweep

ALWAYS = ("batch_size", "seq_len", "hidden_size")
APART = ("reference", "phase")  # named separately
SHORT = {
    "output_len": "decoded{}",
    "dropout": "dropout{}",
    "lengths": "{}-lengths",
}


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


def case_name(case: Case) -> str:
    """The name that a case has in every run and suite: `lstm-loop-training-batch32-length16-hidden64`.

    It has the sizes that suites mostly sweep, and what is not the default.
    """
    head = [case.cell, case.implementation, case.workload.phase]
    if ":" in case.cell:  # a user's own
        head.append(f"against-{case.workload.reference}")
    return "-".join([*head, *(_short(axis, value) for axis, value in _named_axes(case.workload))])


def group_name(workload: Workload) -> str:
    """`torch.nn.LSTM training, batch 32, length 16, hidden 64`: cases with this name are compared with each other."""
    axes = dict(_named_axes(workload))
    return f"{reference_cell(workload.reference)} {workload.phase}, {say_all(axes, axes.values())}"


def _named_axes(workload: Workload) -> Iterator[tuple[str, Any]]:
    loads = workload.phase in LOADS
    for axis in WORKLOAD_AXES:
        value = getattr(workload, axis)
        if axis in APART or (workload.phase == "loading" and axis in OF_MODELS):
            continue
        is_usual = axis not in ALWAYS and (value,) == Sweep.model_fields[axis].default
        if loads if axis in OF_DATA else not is_usual:
            yield axis, value


def _short(axis: str, value: Any) -> str:
    if axis in SHORT:
        return SHORT[axis].format(axis_text(value))
    if isinstance(value, bool):
        return axis
    return f"{word(axis)}{value}" if axis in (*SIZES, *COUNTED) else str(value)

"""The names of tests and groups of benchmarks.

A case has the same name in every suite, since pytest-benchmark compares runs by the names of tests.
"""

from collections.abc import Iterator
from typing import Any

from rnnbench.cells import is_own
from rnnbench.report.words.axes import COUNTED, OF_MODELS, SIZES, say_all, word
from rnnbench.store.records import LOADS, OF_DATA, WORKLOAD_AXES, Case, Workload, axis_text, reference_cell
from rnnbench.suite_file import Sweep

ALWAYS = ("batch_size", "seq_len", "hidden_size")
APART = ("reference", "phase")  # named separately
SAID = {
    "output_len": "decoded{}",
    "dropout": "dropout{}",
    "lengths": "{}-lengths",
}


def case_name(case: Case) -> str:
    """`lstm-loop-training-batch32-length16-hidden64`: sizes that suites mostly sweep, and what is not the default."""
    head = [case.cell, case.implementation, case.workload.phase]
    if is_own(case.cell):
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
    if axis in SAID:
        return SAID[axis].format(axis_text(value))
    if isinstance(value, bool):
        return axis
    return f"{word(axis)}{value}" if axis in (*SIZES, *COUNTED) else str(value)

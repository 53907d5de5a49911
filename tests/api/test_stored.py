"""`rnnbench.compare(...)` of live results that the test makes up."""

from pathlib import Path
from typing import Any

import pytest

import rnnbench
from rnnbench.report.notebook.result import FrameResult
from tests.doubles import workload as small
from tests.doubles.stored import folder
from tests.report.notebook.test_live import measured, point, result


def replaced(result: FrameResult, **change: Any) -> FrameResult:
    return FrameResult(result.frames, print, "", **result.facts | change)


def test_two_results_of_equal_work_are_compared() -> None:
    frame = rnnbench.compare(measured("torch", "loop"), measured("torch", "loop")).frame
    assert frame["module"].tolist() == ["loop"]
    assert frame["ratio"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"phase": "inference"}, "phase: the base has 'training' and the head 'inference'; they must be the same"),
        ({"reference": "loop"}, "reference: the base has 'torch' and the head 'loop'"),
        ({"device": "cuda:0"}, "device: the base has 'cpu' and the head 'cuda:0'"),
        ({"threads": 4}, "threads: the base has 2 and the head 4"),
    ],
)
def test_results_of_other_work_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rnnbench.compare(measured(), replaced(measured(), **change))


def test_a_reference_that_is_not_finite_is_no_module_to_compare() -> None:
    odd = measured("torch", "loop")
    odd.frame.loc["torch", "parity"] = "is the reference, 3 of 8 values are NaN or infinite"
    assert rnnbench.compare(odd, odd).frame["module"].tolist() == ["loop"]


def test_a_sweep_is_compared_with_one_over_the_same_sizes() -> None:
    base = result(point(1e-3, batch=1), point(2e-3, batch=2))
    frame = rnnbench.compare(base, base).frame
    assert frame[["module", "batch", "ratio"]].to_numpy().tolist() == [["mine", 1, 1.0], ["mine", 2, 1.0]]
    with pytest.raises(ValueError, match="the base was swept over batch, phase, threads and the head over length, "):
        rnnbench.compare(base, replaced(base, axes=("length", "phase", "threads")))
    with pytest.raises(TypeError, match="expected two stored runs, two results of measure, or two of sweep"):
        rnnbench.compare(base, measured())


def test_stored_runs_are_compared_by_their_folders(tmp_path: Path) -> None:
    base, head = (
        folder(tmp_path, {small.case("vanilla"): [[factor]] * 4, small.reference_case(): [[1.0]] * 4})
        for factor in (2.0, 2.0)
    )
    by_path = rnnbench.compare(base, str(head))
    loaded = rnnbench.compare(rnnbench.load(base), rnnbench.load(head))
    assert by_path.frame.equals(loaded.frame)
    assert "case=" not in repr(by_path)

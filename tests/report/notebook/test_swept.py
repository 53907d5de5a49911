"""The result of a sweep, from points that the test makes up."""

from typing import Any

from rnnbench.harness.live.measuring import MeasuredModules
from rnnbench.harness.live.sweep import SweptPoint
from rnnbench.report.notebook.swept import SweptModules, swept
from rnnbench.suite_file import Settings
from tests.doubles.stored import steady

ARMS = ("mine", "torch")


def point(seconds: float, *notes: str, threads: int | None = 1, **sizes: Any) -> SweptPoint:
    times = {arm: [steady(seconds), steady(1.5 * seconds)] for arm in ARMS}
    parity = {"mine": "agrees", "torch": "is the reference"}
    parameters: dict[str, int | None] = dict.fromkeys(ARMS, 7)
    found = MeasuredModules(times, True, False, None, "torch", parity, parameters, "cpu", 1, "2", notes)
    return SweptPoint({**sizes, "phase": "inference", "threads": threads}, found)


def result(*points: SweptPoint) -> SweptModules:
    return swept(points, ARMS, Settings(replicates=2, precision=0.01), len(points))


def test_what_is_said_of_a_later_combination_is_not_lost() -> None:
    later = point(2e-3, "Outputs could not be compared again.", batch=2)
    note = result(point(1e-3, batch=1), later, point(3e-3, "One is coarse.", batch=3)).note
    assert note.endswith(". Outputs could not be compared again. One is coarse.")
    assert result(later).note.count("Outputs could not be compared again.") == 1


def test_the_threads_that_torch_chooses_are_told_apart_from_others() -> None:
    made = result(*(point(1e-3, batch=batch, threads=threads) for batch in (1, 2, 4) for threads in (1, None)))
    assert "threads" in repr(made)
    [panel] = made.plot().axes
    assert [line[0].get_xdata().tolist() for line in panel.containers] == [[1, 2, 4]] * 2


def test_a_size_of_zero_has_a_place_on_the_figure() -> None:
    [panel] = result(*(point(1e-3, dropout=share) for share in (0.0, 0.25, 0.5))).plot().axes
    assert panel.get_xscale() == "linear"
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0", "0.25", "0.5"]

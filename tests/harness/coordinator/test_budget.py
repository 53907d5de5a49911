import pytest

from rnnbench.harness.coordinator.budget import enough
from rnnbench.store.records import Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.suite_file import Settings
from tests import workload as small

SETTINGS = Settings(replicates=5, windows=4, window_seconds=0.01)
STAGES = {"ceilings": 1.0, "observing": 4.0, "energy": 0.0}


def cut_off(cases: int, observed: int, seconds: float | None = 7.0, stages: dict[str, float] = STAGES) -> float | None:
    info = RunInfo("test", "", {"measure": SETTINGS.model_dump()}, "", "", {}, seconds=seconds, stage_seconds=stages)
    all_cases = [small.case("gru", batch_size=1 + number) for number in range(cases)]
    known = [
        Measurement(case, "pending", "", parity="agrees" if index < observed else "")
        for index, case in enumerate(all_cases)
    ]
    return enough(info, {measurement.case.key: measurement for measurement in known})


def test_what_is_enough_follows_from_what_was_seen() -> None:
    # A worker took 2 s to start and 20 cases took 2 s, so 100 cases take 10 s, with the ceilings 11 s: half of 22 s.
    # 9 s for the past and a start, 11 s before timing, 10 s for calibration, and five replicates of 2 + 6 s.
    assert cut_off(100, 20) == pytest.approx(7 + 2 + 11 + 10 + 5 * (2 + 100 * 0.06))


def test_half_of_a_budget_is_for_observing() -> None:
    assert cut_off(1, 1) == pytest.approx(7 + 2 + max(2 * (1 + 2), 1 + 2 + 2 + 5 * (2 + 0.06)))
    longer = STAGES | {"observing": 100.0}
    assert cut_off(20, 10, 103.0, longer) == pytest.approx(103 + 2 + max(2 * (1 + 196), 1 + 196 + 196 + 5 * (2 + 1.2)))


def test_it_grows_with_the_cases_also_where_none_was_reached() -> None:
    budgets = [cut_off(cases, 0, 3.0, STAGES | {"observing": 0.0}) for cases in (10, 100, 1000)]
    assert all(budget is not None for budget in budgets)
    assert budgets == sorted(budgets, key=float)  # type: ignore[arg-type]


def test_nothing_is_said_of_a_run_that_tells_nothing() -> None:
    assert cut_off(10, 0, None) is None
    assert cut_off(10, 0, 3.0, {}) is None

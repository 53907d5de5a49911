import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from rnnbench.analysis.runs.noise import noise
from rnnbench.analysis.runs.run_times import RunTimes, read
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Measurement
from tests.doubles import workload as small
from tests.doubles.stored import INFO, times_of, window

CASES = [
    case
    for size in range(1, 41)
    for case in (small.case("gru", batch_size=size), small.reference_case("gru", batch_size=size))
]


def run(parent: Path, spread: float, slope: float = 0.0, replicates: int = 6, turns: int = 4) -> Path:
    """A run whose windows take a millisecond, with noise of the given spread and a drift over replicates."""
    rng, folder = random.Random(1), RunFolder.create(parent, "test")
    folder.write_info(INFO)
    for case in CASES:
        folder.add_measurement(Measurement(case, "measured"))
    for replicate in range(replicates):
        for case in CASES:
            for order in range(turns):
                seconds = 1e-3 * math.exp(rng.gauss(0, spread) + slope * replicate)
                ordered = replace(window(case, replicate, [seconds], turns=2 * turns), order=order)
                folder.add_window(ordered)
    folder.close()
    return folder.path


@pytest.mark.parametrize("spread", [0.001, 0.01, 0.05])
def test_the_floor_grows_with_the_noise_of_the_windows(tmp_path: Path, spread: float) -> None:
    result = noise(read(run(tmp_path, spread)))
    # The smaller of two windows over the smaller of two others, in six replicates: about 1.5 standard deviations.
    assert spread < result.floor < 2 * spread
    assert result.floor <= result.worst
    assert result.cases == len(CASES)


def test_few_cases_differ_from_themselves(tmp_path: Path) -> None:
    result = noise(read(run(tmp_path, 0.02)))
    assert result.alarms <= 10  # of 80; with p = 1/32 each, more than 10 happen once in 10,000 runs


ABBA = (0, 1, 1, 0, 0, 1, 1, 0)  # the half of each turn


def made_up(times: dict[int, list[list[float]]]) -> RunTimes:
    """The times of windows with one call each: `times[batch_size][replicate]` are the seconds of its turns."""
    windows = []
    for size, replicates in times.items():
        case = small.case("gru", batch_size=size)
        for replicate, turns in enumerate(replicates):
            unordered = [window(case, replicate, [seconds], turns=len(turns)) for seconds in turns]
            windows += [(case, replace(one, order=order)) for order, one in enumerate(unordered)]
    return times_of(windows)


def test_turns_are_dealt_out_to_two_halves_that_change_places_from_replicate_to_replicate() -> None:
    slower = [2.0 if half else 1.0 for half in ABBA]
    ratios = made_up({1: [slower, slower]}).replicates
    assert ratios["self_log_ratio"].tolist() == pytest.approx([math.log(2), -math.log(2)])


def test_cases_that_differ_from_themselves_are_counted_in_both_directions() -> None:
    def turns(replicate: int, slower: float) -> list[float]:  # one half is slower, by a varying amount
        return [1.0 + (slower * (1 + 0.1 * replicate) if (half + replicate) % 2 else 0.0) for half in ABBA]

    result = noise(made_up({1 + n: [turns(r, slower) for r in range(6)] for n, slower in enumerate((0.1, -0.1, 0.0))}))
    assert (result.alarms, result.cases) == (2, 3)


@pytest.mark.parametrize("replicates", [6, 4])
@pytest.mark.parametrize("slope", [0.0, 0.01, -0.02])
def test_a_machine_that_slows_down_is_seen_as_drift_and_not_as_noise(
    tmp_path: Path, slope: float, replicates: int
) -> None:
    result = noise(read(run(tmp_path, 0.001, slope, replicates)))
    apart = {6: 4, 4: 3}[replicates]  # replicates from the middle of the first third to the middle of the last
    assert result.drift == pytest.approx(math.expm1(apart * slope), abs=0.002)
    assert result.floor < 0.01


@pytest.mark.parametrize(("replicates", "turns"), [(0, 4), (1, 4), (3, 1)])
def test_too_little_data_tells_nothing(tmp_path: Path, replicates: int, turns: int) -> None:
    result = noise(read(run(tmp_path, 0.01, replicates=replicates, turns=turns)))
    assert math.isnan(result.floor)
    assert result.cases == 0

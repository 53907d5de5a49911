import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from rnnbench import load
from rnnbench.analysis.noise import noise
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Measurement
from tests import workload as small
from tests.stored import INFO, window

CASES = [
    case
    for size in range(1, 41)
    for case in (small.case("gru", batch_size=size), small.reference_case("gru", batch_size=size))
]


def run(parent: Path, spread: float, slope: float = 0.0, replicates: int = 6, turns: int = 4) -> Path:
    """A run in which every window takes a millisecond, but for noise of this spread and a drift over replicates."""
    rng, folder = random.Random(1), RunFolder.create(parent, "test")
    folder.write_info(INFO)
    for case in CASES:
        folder.add_measurement(Measurement(case, "measured"))
    for replicate in range(replicates):
        for case in CASES:
            for order in range(turns):
                seconds = 1e-3 * math.exp(rng.gauss(0, spread) + slope * replicate)
                made = replace(window(case, replicate, [seconds], turns=2 * turns), order=order)
                folder.add_window(made)
    folder.close()
    return folder.path


@pytest.mark.parametrize("spread", [0.001, 0.01, 0.05])
def test_the_floor_grows_with_the_noise_of_the_windows(tmp_path: Path, spread: float) -> None:
    found = noise(load(run(tmp_path, spread)))
    # The smaller of two windows against the smaller of two others, over six replicates: about 1.5 standard deviations.
    assert spread < found.floor < 2 * spread
    assert found.floor <= found.worst
    assert found.cases == len(CASES)


def test_few_cases_differ_from_themselves(tmp_path: Path) -> None:
    found = noise(load(run(tmp_path, 0.02)))
    assert found.alarms <= 10  # of 80; with p = 1/32 each, more than 10 would happen once in ten thousand runs


@pytest.mark.parametrize("slope", [0.0, 0.01, -0.02])
def test_a_machine_that_slows_down_is_seen_as_drift_and_not_as_noise(tmp_path: Path, slope: float) -> None:
    found = noise(load(run(tmp_path, 0.001, slope)))
    assert found.drift == pytest.approx(math.expm1(4 * slope), abs=0.002)
    assert found.floor < 0.003


@pytest.mark.parametrize(("replicates", "turns"), [(0, 4), (1, 4), (3, 1)])
def test_too_little_data_tells_nothing(tmp_path: Path, replicates: int, turns: int) -> None:
    found = noise(load(run(tmp_path, 0.01, replicates=replicates, turns=turns)))
    assert math.isnan(found.floor)
    assert found.cases == 0

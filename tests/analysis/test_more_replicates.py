import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.location import Location
from rnnbench.analysis.run_to_run import more_replicates, times_as_many
from rnnbench.analysis.stored import StoredRun, compare, read
from tests.doubles import workload as small
from tests.doubles.stored import folder

CASE = small.case("vanilla")
EDGE = math.log1p(0.025)


def undecided(centre: float, half: float, replicates: int = 4) -> Finding:
    """An undecided case whose log-ratio is known within `half`."""
    low = Estimate(*(math.exp(centre + side * half) for side in (0, -1, 1)))
    return Finding(CASE, "undecided", 0.025, low=low, mean=low, replicates=replicates)


@pytest.mark.parametrize(
    ("centre", "half", "times"),
    [
        (0.0, 2 * EDGE, 4.0),  # half as wide fits into the margin
        (EDGE / 2, EDGE, 4.0),
        (3 * EDGE, 4 * EDGE, 4.0),  # or lies beyond it
        (-3 * EDGE, 4 * EDGE, 4.0),
        (3 * EDGE, EDGE, 1.0),  # it does, and is not sure enough among many cases
        (EDGE, EDGE, math.inf),  # on the margin itself
        (0.0, math.nan, math.inf),
    ],
)
def test_the_replicates_that_are_needed_follow_from_the_width_of_the_interval(
    centre: float, half: float, times: float
) -> None:
    assert times_as_many(undecided(centre, half)) == pytest.approx(times, rel=1e-6, abs=1e-6) or times == math.inf
    assert (times_as_many(undecided(centre, half)) > 1e6) == (times == math.inf)


@pytest.mark.parametrize(("fixed", "times"), [(0.0, 4.0), (0.1, 6.0), (0.2, 16.0), (0.26, math.inf), (1.0, math.inf)])
def test_what_more_replicates_do_not_make_narrower_makes_it_take_more_of_them(fixed: float, times: float) -> None:
    assert times_as_many(undecided(0.0, 2 * EDGE), fixed) == pytest.approx(times)


def changes(errors: list[float]) -> dict[str, Location]:
    """Changes of several cases, which scatter by less than their own errors."""
    rng = random.Random(0)
    cases = [small.case("vanilla", batch_size=number + 1).key for number in range(len(errors))]
    return {case: Location(rng.gauss(0.0, error / 2), error, 100.0) for case, error in zip(cases, errors, strict=True)}


def test_the_note_counts_the_cases_that_replicates_can_decide() -> None:
    known = changes([EDGE] * 40)
    findings = [
        replace(undecided(0.0, 2 * EDGE), case=small.case("vanilla", batch_size=number + 1)) for number in range(40)
    ]
    note = more_replicates(findings, known, known)
    assert note.startswith("about ")
    assert note.endswith(" replicates in both runs would be enough for 40 of 40 undecided cases")
    few = dict(list(known.items())[:3])
    assert more_replicates(findings[:3], few, few) == ""  # nothing is known about the variation between runs
    assert more_replicates([], known, known) == ""


def biased_run(parent: Path, seed: int) -> StoredRun:
    """A run with a bias of 4% in each case, and replicates that agree within 0.1%."""
    rng, times = random.Random(seed), {}
    for batch in range(1, 13):
        bias = math.exp(rng.gauss(0.0, 0.04))
        times[small.case("vanilla", batch_size=batch)] = [[bias * rng.uniform(1.0, 1.001)] for _ in range(5)]
        times[small.reference_case(batch_size=batch)] = [[1.0]] * 5
    return read(folder(parent / str(seed), times))


def test_runs_that_vary_more_than_their_replicates_need_a_check_in_turns(tmp_path: Path) -> None:
    base, head = (biased_run(tmp_path, seed) for seed in (1, 2))
    comparison = compare(base, head, dict.fromkeys(base.measurements, 0.025))
    open_cases = comparison.count("undecided")
    assert open_cases > 1
    assert comparison.needed == (
        f"more replicates would not help the {open_cases} undecided cases: "
        "`rnnbench check --base` measures both sides in turns"
    )

import math

import pytest

from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.estimate import Estimate
from rnnbench.harness.check.more_time import more_time, times_as_many
from rnnbench.store.records import Group
from tests import workload as small

CASE = small.case("vanilla")
EDGE = math.log1p(0.025)


class FivePerReplicate:
    replicates = 4
    seconds = 60.0

    def expected_seconds(self, groups: list[Group]) -> float:
        return 5.0 * len(groups)


def undecided(centre: float, half: float, replicates: int = 4) -> Finding:
    """An undecided case whose log-ratio is known within `half`."""
    low = Estimate(*(math.exp(centre + side * half) for side in (0, -1, 1)))
    return Finding(CASE, "inconclusive", 0.025, low=low, mean=low, replicates=replicates)


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


def test_the_note_counts_the_cases_that_time_can_decide() -> None:
    group = Group(CASE.workload, (CASE,))
    pairs = FivePerReplicate()
    assert more_time(pairs, [group], [undecided(0.0, 2 * EDGE)]) == [  # type: ignore[arg-type]
        "about 60 s more would be enough for 1 of 1 undecided case, judged by the intervals"
    ]
    assert more_time(pairs, [group], [undecided(0.0, 9 * EDGE)]) == []  # type: ignore[arg-type]

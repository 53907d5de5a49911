from rnnbench.harness.check.more_time import more_time
from rnnbench.store.records import Group
from tests.analysis.test_more_replicates import CASE, EDGE, undecided


class FivePerReplicate:
    replicates = 4
    seconds = 60.0

    def expected_seconds(self, groups: list[Group]) -> float:
        return 5.0 * len(groups)


def test_the_note_counts_the_cases_that_time_can_decide() -> None:
    group = Group(CASE.workload, (CASE,))
    pairs = FivePerReplicate()
    assert more_time(pairs, [group], [undecided(0.0, 2 * EDGE)], 8) == (  # type: ignore[arg-type]
        "about 60 s more would be enough for 1 of 1 undecided case"
    )
    assert more_time(pairs, [group], [undecided(0.0, 9 * EDGE)], 8) == ""  # type: ignore[arg-type]


def test_a_case_inside_the_margin_needs_the_pairs_that_unchanged_takes_and_one_more_at_least() -> None:
    group, pairs = Group(CASE.workload, (CASE,)), FivePerReplicate()
    for fewest, about in ((9, 30), (2, 10)):  # five seconds a pair; four pairs were made
        assert more_time(pairs, [group], [undecided(0.0, 0.5 * EDGE)], fewest) == (  # type: ignore[arg-type]
            f"about {about} s more would be enough for 1 of 1 undecided case"
        )

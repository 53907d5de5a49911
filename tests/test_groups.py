"""Cases put into groups, and taken out of them."""

from rnnbench.groups import cases_of, grouped, with_cases
from rnnbench.store.records import Case
from tests.doubles.workload import workload

ONE, TWO = workload(batch_size=1), workload(batch_size=2)
CASES = [Case("lstm", "loop", TWO), Case("lstm", "loop", ONE), Case("gru", "loop", TWO)]


def test_cases_of_one_workload_are_a_group_in_their_order() -> None:
    first, second = grouped(CASES)
    assert (first.workload, first.cases) == (TWO, (CASES[0], CASES[2]))
    assert (second.workload, second.cases) == (ONE, (CASES[1],))
    assert cases_of([first, second]) == [CASES[0], CASES[2], CASES[1]]


def test_a_group_without_cases_is_left_out() -> None:
    [left] = with_cases(grouped(CASES), lambda case: case.cell == "gru")
    assert left.cases == (CASES[2],)

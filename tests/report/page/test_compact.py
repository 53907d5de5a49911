import json

import pandas as pd
import pytest

from rnnbench.report.page import selection
from rnnbench.report.page.compact import FIRST_ROWS, MAX_OPEN_ROWS, later_rows, ranges, short_choices, static_rows
from rnnbench.report.tables.table import Column, Table, of, table


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], ""),
        ([7], "7"),
        ([7, 8], "7 8"),
        ([7, 8, 9], "7-9"),
        ([0, 4, 8, 12, 13, 20], "0-12:4 13 20"),
        ([5, 5, 5], "5 5 5"),
        ([3, 1, 2, 4, 3, 5], "3 1 2 4 3 5"),  # in the order of the marks
    ],
)
def test_rows_at_equal_distances_are_one_range(rows: list[int], text: str) -> None:
    assert ranges(rows) == text


def long_table(rows: int) -> Table:
    frame = pd.DataFrame({"name": [f"n{row}" for row in range(rows)], "seconds": [row / 3 for row in range(rows)]})
    columns = [Column("name", of("name")), Column("time", of("seconds", lambda value: f"{value:.1f} s"), numeric=True)]
    return table("long", "Long", "", columns, frame, machine=frame, breaks=[0, FIRST_ROWS + 5])


def test_only_the_first_rows_of_a_folded_table_are_elements_and_the_others_are_data() -> None:
    assert later_rows(long_table(MAX_OPEN_ROWS), ()) is None
    folded = long_table(MAX_OPEN_ROWS + 1)
    later = later_rows(folded, [str(row) for row in range(MAX_OPEN_ROWS + 1)])
    assert later is not None
    assert static_rows(folded) + len(later["rows"]) == MAX_OPEN_ROWS + 1
    assert later["rows"][0] == (f"n{FIRST_ROWS}", f"{FIRST_ROWS / 3:.1f} s")
    assert later["values"][0] == ["", f"{FIRST_ROWS / 3:.7g}"]
    assert later["about"][0] == str(FIRST_ROWS)
    assert later["breaks"] == [5]
    json.dumps(later)


def test_choices_have_a_digit_for_each_case_and_axis_of_few_values(quick: pd.DataFrame) -> None:
    choices = selection.choices(quick)
    short = short_choices(choices)
    assert short["count"] == len(quick)
    for axis, digits in enumerate(short["cases"]):
        places = [-1 if digit == "-" else int(digit, 36) for digit in digits]
        assert places == [case[axis] for case in choices["cases"]]
    many = {"axes": [{"name": "seq_len", "values": list(map(str, range(40)))}], "cases": [(39,), (2,)], "beside": {}}
    assert short_choices(many)["cases"] == [(39, 2)]

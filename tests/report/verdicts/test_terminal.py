import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.report.verdicts import terminal
from tests.doubles.workload import case

from .samples import (
    SLOWER,
    comparison,
    every_verdict,
    large,
    nasty,
    near,
    realistic,
    unchanged,
)

ALL = [comparison(), every_verdict(), realistic(), nasty(), large(3, 200)]


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("compared", ALL, ids=range(len(ALL)))
def test_no_line_is_wider_than_the_console(compared: Comparison, width: int) -> None:
    assert max(map(cell_len, terminal.text(compared, width).splitlines())) <= width


def test_a_console_too_narrow_for_the_columns_still_gets_the_answer() -> None:
    assert "2 of 24 cases" in terminal.text(realistic(), 20)


def test_many_unchanged_cases_are_counted_where_something_else_is_to_be_seen() -> None:
    text = terminal.text(comparison(SLOWER, *unchanged(11)))
    assert "\n11 more cases are unchanged.\n" in text
    assert "vanilla" not in text


@pytest.mark.parametrize("compared", [comparison(SLOWER, *unchanged(10)), comparison(*unchanged(30))])
def test_few_unchanged_cases_or_nothing_else_are_listed(compared: Comparison) -> None:
    assert terminal.text(compared).count(" unchanged  ") == compared.count("unchanged")


def test_verdicts_are_coloured_on_a_terminal() -> None:
    out = io.StringIO()
    Console(file=out, width=100, force_terminal=True, color_system="truecolor").print(terminal.render(realistic()))
    assert re.search(r"\x1b\[1;38;2;213;94;0mregressed", out.getvalue())


def test_of_thousands_of_cases_the_worst_are_listed_and_the_others_counted() -> None:
    slower = [Finding(case("gru", batch_size=n), "regressed", 0.025, low=near(1.5), mean=near(1.5)) for n in range(300)]
    same = [Finding(case("lstm", batch_size=n), "unchanged", 0.025, low=near(1.0), mean=near(1.0)) for n in range(5000)]
    text = terminal.text(Comparison("s", "base", "head", "paired", (*slower, *same)))
    assert text.count(" regressed  ") == terminal.MAX_LISTED
    assert "100 more cases are regressed." in text
    assert "5,000 more cases are unchanged." in text

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.report.verdicts import terminal
from tests.doubles.workload import case

from .samples import (
    APART,
    FAILING,
    ONE_SIDED,
    SAME,
    SLOWER,
    comparison,
    every_verdict,
    finding,
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


@pytest.mark.parametrize("width", [80, 100])
def test_what_is_compared_comes_first_and_the_answer_last(width: int) -> None:
    lines = terminal.text(realistic(), width).splitlines()
    assert lines[0].startswith("quick: base main (1a2b3c4) against head the working tree at 1a2b3c4")
    last = " ".join(lines[len(lines) - lines[::-1].index("") :])
    assert last.startswith("2 of 24 cases regressed; the worst is lstm loop inference, batch 16")


def test_numbers_stand_in_columns_and_the_sentence_below() -> None:
    lines = terminal.text(realistic(), 100).splitlines()
    first = next(index for index, line in enumerate(lines) if "regressed" in line)
    assert lines[first].split("  ")[0] == "lstm loop inference, batch 16"
    assert re.search(r"regressed +\+5\.1%  \[\+4\.2%, \+6\.0%\] +\+5\.3%$", lines[first])
    assert lines[first + 1].startswith("    Likely cause: 96 more operator calls (412 -> 508, +23%)")
    ends = {line.rindex("%") for line in lines if re.search(r"(regressed|improved|inconclusive) .*%$", line)}
    assert len(ends) == 1


def test_the_worst_comes_first() -> None:
    text = terminal.text(every_verdict(), 100)
    table = text[: text.index("Not compared")]
    words = re.findall(r" {2}(regressed|incomparable|inconclusive|improved|unchanged)", table)
    assert words == ["regressed"] * 4 + ["incomparable"] + ["inconclusive"] * 2 + ["improved", "unchanged"]


def test_many_unchanged_cases_are_counted_where_something_else_is_to_be_seen() -> None:
    text = terminal.text(comparison(SLOWER, *unchanged(11)))
    assert "\n11 more cases are unchanged.\n" in text
    assert "vanilla" not in text


@pytest.mark.parametrize("compared", [comparison(SLOWER, *unchanged(10)), comparison(*unchanged(30))])
def test_few_unchanged_cases_or_nothing_else_are_listed(compared: Comparison) -> None:
    assert terminal.text(compared).count(" unchanged  ") == compared.count("unchanged")


def test_a_sentence_that_neighbours_share_stands_once() -> None:
    text = terminal.text(comparison(APART, APART, APART, FAILING, FAILING))
    assert text.count("    All 3: torch 2.8.0 in the base, 2.9.1 in the head") == 1
    assert text.count("    Both: fails now: RuntimeError: boom") == 1


def test_cases_that_were_not_compared_are_listed_by_reason() -> None:
    text = terminal.text(comparison(SAME, *[ONE_SIDED] * 5), 140)
    assert "\nNot compared\n  only in the head: deep loop inference" in text
    assert text.count("deep loop inference") == 3
    assert "; and 2 more" in text


def test_margins_are_a_column_where_they_differ() -> None:
    assert "margin" not in terminal.text(every_verdict()).split("case ")[1]
    text = terminal.text(comparison(SAME, finding("unchanged", 1.0, margin=0.05)))
    assert re.search(r"mean +margin\n", text)
    assert re.search(r" 5%\n", text)


def test_what_is_not_known_is_left_blank() -> None:
    for compared in ALL:
        assert "nan" not in terminal.text(compared).lower()


def test_markup_and_control_codes_are_shown_not_obeyed() -> None:
    text = terminal.text(nasty(), 140)
    assert "\x1b" not in text
    assert "[bold]" in text


def test_notes_come_last() -> None:
    assert terminal.text(every_verdict()).splitlines()[-1] == "head: a worker was lost at cell=vanilla: it was killed"


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

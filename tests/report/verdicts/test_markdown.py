import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.comparison import Comparison
from rnnbench.report.verdicts import markdown

from .samples import comparison, every_verdict, large, nasty, realistic

SEPARATOR = re.compile(r"(?<!\\)\|")
SAMPLES = [comparison(), every_verdict(), realistic(), nasty(), large(3, 60)]


def rows(text: str) -> list[list[str]]:
    """The cells of the table as Markdown splits them, without the heading and the rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in SEPARATOR.split(line)[1:-1]] for line in lines[2:]]


@pytest.mark.parametrize("compared", SAMPLES, ids=range(len(SAMPLES)))
def test_no_name_breaks_the_table(compared: Comparison) -> None:
    text = markdown.render(compared)
    assert all(len(row) == 7 for row in rows(text))
    assert len(rows(text)) == len(compared.findings)
    assert not re.search(r"[<>\x00\x1b]", text)


@given(st.sampled_from(SAMPLES), st.integers(0, 12_000))
def test_it_is_never_longer_than_asked(compared: Comparison, most: int) -> None:
    assert len(markdown.render(compared, most).encode()) <= most


def test_unchanged_cases_are_left_out_first_then_the_least_bad() -> None:
    whole = rows(markdown.render(every_verdict()))
    seen = set()
    for most in range(1500, 4000, 20):
        text = markdown.render(every_verdict(), most)
        left_out = len(whole) - len(rows(text))
        seen.add(left_out)
        worth = [row for row in whole if row[1] != "● unchanged"]
        if left_out and "|" in text:
            assert rows(text) == worth[: len(worth) + 1 - left_out]
            assert f"{left_out} row" in text
    assert len(seen) > 5


def test_two_thousand_cases_fit_and_the_count_is_right() -> None:
    text = markdown.render(large(), 100_000)
    table = rows(text)
    assert [row[1] for row in table[:40]] == ["▲ **regressed**"] * 40
    assert f"\n{2000 - len(table):,} rows left out" in text
    assert 99_000 < len(text.encode()) <= 100_000

"""A table as text, and as CSV, Markdown and LaTeX, whatever stands in it."""

import csv as reader
import io
import re
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.report.table import FORMULA, Column, Table, csv, escape, latex, markdown, table, text_of
from rnnbench.report.words.names import one_line

PIPE = re.compile(r"(?<!\\)(?:\\\\)*\|")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def small(rows: int, text: str = "a_b 50%") -> Table:
    frame = pd.DataFrame({"what": [text] * rows, "n": range(rows), "cost": 1.5})
    columns = [
        Column("what_is", text_of("what")),
        Column("n", text_of("n"), numeric=True),
        Column("cost", text_of("cost"), numeric=True, is_optional=True),
    ]
    return table("two_words", "A title", "50% of it.", columns, frame, machine=frame, breaks=[0, 2])


def test_a_long_table_ends_for_readers_and_not_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnbench.report.table.MAX_TABLE_ROWS", 10)
    long = small(12)
    assert (len(long.rows), len(long.frame)) == (10, 12)
    assert long.note == "50% of it. Here are the first 10 of 12 rows; tables/two_words.csv has all."


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_csv_has_every_digit_and_no_text_that_is_a_formula(texts: list[str]) -> None:
    text = csv(pd.DataFrame({"a": texts, "b": 1.23456789012e-7}))
    rows = list(reader.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["a", "b"]
    for (written, number), given_text in zip(rows[1:], texts, strict=True):
        plain = given_text.replace("\r\n", "\n").replace("\r", "\n")
        assert written == (f"'{plain}" if FORMULA.match(plain) else plain)
        assert float(number) == 1.23456789012e-7


@given(st.text())
def test_markdown_text_stays_in_its_cell_and_reads_back(text: str) -> None:
    escaped = escape(text)
    assert not PIPE.search(escaped)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[]|<|\n", escaped)
    plain = re.sub(r"\\([\\`*_\[\]|~#])", r"\1", escaped)
    assert plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == one_line(text)


def test_markdown_has_a_title_a_note_and_numbers_on_the_right() -> None:
    assert markdown(small(1, "a|b")).splitlines() == [
        "## A title",
        "",
        "50% of it.",
        "",
        "| what_is | n | cost |",
        "| :--- | ---: | ---: |",
        r"| a\|b | 0 | 1.5 |",
    ]


def test_latex_has_the_columns_that_are_not_optional_and_no_advice_for_the_page() -> None:
    text = latex(replace(small(1), aside="Not known: energy."))
    assert r"\caption{A title. 50\% of it.}" in text
    assert r"what\_is & n \\" in text
    assert r"a\_b 50\% & 0 \\" in text
    assert "50% of it. Not known: energy." in markdown(replace(small(1), aside="Not known: energy.")).replace("\\", "")
    assert "another" in latex(replace(small(1), paper=small(1, "another")))

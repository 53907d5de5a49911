import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.report.tables import all_tables
from rnnbench.report.tables.formats import as_latex
from rnnbench.report.tables.formats.as_latex import escape
from rnnbench.report.tables.table import Column, Table, of, table
from rnnbench.store.run_info import RunInfo

COMMAND = re.compile(r"\\(?:[A-Za-z]+\{[^}]*\}|[{}$&#%_])|-\{\}-|\{\}")


def small_table(rows: int, text: str = "a") -> Table:
    frame = pd.DataFrame({"what": [text] * rows, "n": range(rows)})
    columns = [Column("what_is", of("what")), Column("n", of("n", str), numeric=True)]
    return table("two_words", "A title", "50% of it", columns, frame, machine=frame, breaks=[0, 2])


@given(st.text())
def test_no_text_has_a_letter_that_tex_would_obey(text: str) -> None:
    assert not set(COMMAND.sub("", escape(text))) & set("\\{}$&#%_^~")
    assert "\n" not in escape(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<script>alert(1)</script>", r"\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{}"),
        (r"a_b|c%\d", r"a\_b\textbar{}c\%\textbackslash{}d"),
        ("--base", "-{}-base"),
        ("1.20–1.31 µs", r"1.20--1.31 \textmu{}s"),
        ("6.88×", r"6.88\ensuremath{\times}"),
    ],
)
def test_text_is_set_as_it_is(text: str, written: str) -> None:
    assert escape(text) == written


def test_a_table_has_rules_a_caption_a_label_and_numbers_on_the_right() -> None:
    lines = as_latex.render(small_table(3)).splitlines()
    assert lines[:5] == [
        r"\begin{table}",
        r"\centering",
        r"\caption{A title. 50\% of it}\label{tab:two-words}",
        r"\begin{tabular}{lr}",
        r"\toprule",
    ]
    assert lines[5:] == [
        r"what\_is & n \\",
        r"\midrule",
        r"a & 0 \\",
        r"a & 1 \\",
        r"\addlinespace",
        r"a & 2 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_a_long_table_goes_over_several_pages() -> None:
    text = as_latex.render(small_table(as_latex.PAGE + 1))
    assert text.startswith(r"\begin{longtable}{lr}")
    assert text.count(r"what\_is & n \\") == 2
    assert text.count(r"\caption") == 1


def test_a_cell_that_starts_with_a_bracket_is_no_argument_of_the_row_above() -> None:
    assert as_latex.render(small_table(1, "[+1%, +2%]")).splitlines()[7] == r"{}[+1\%, +2\%] & 0 \\"


def test_every_table_has_as_many_cells_in_each_row(quick: pd.DataFrame, info: RunInfo) -> None:
    for report_table in all_tables.render(quick, info).values():
        rows = [line for line in as_latex.render(report_table).splitlines() if line.endswith(r" \\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(report_table.headers) - 1}, report_table.name


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_sets_it(tmp_path: Path, quick: pd.DataFrame, info: RunInfo) -> None:
    parts = "\n".join(as_latex.render(report_table) for report_table in all_tables.render(quick, info).values())
    packages = "booktabs,longtable,textcomp"
    source = f"\\documentclass{{article}}\\usepackage{{{packages}}}\\begin{{document}}{parts}\\end{{document}}"
    (tmp_path / "all.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0

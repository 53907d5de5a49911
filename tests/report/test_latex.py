"""Tables in LaTeX have the characters, widths and lengths that an ordinary article of two columns takes."""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.report.case_tables import table_of_cases, table_of_medians
from rnnbench.report.latex import (
    ACCENTED,
    COLUMN_POINTS,
    GAP_POINTS,
    LETTER_POINTS,
    MAX_ROWS_OF_ONE,
    TEXT_POINTS,
    tables,
    tex,
)
from rnnbench.report.page.page import files
from rnnbench.report.table import Table, latex
from rnnbench.report.verdicts import verdicts
from rnnbench.report.verdicts.page import page_of, table_for_paper
from rnnbench.store.records import Case
from tests.doubles import checks
from tests.report.verdicts import samples

ESCAPED = re.compile(r"\\[&%$#_{}]")
COMMANDS = re.compile(r"\\[a-z]+\{\}")
ARTICLE = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs}
\errorcontextlines=9
\begin{document}
%s
\end{document}
"""


def small(rows: int = 1, text: str = "a_b") -> str:
    return tables("a-name", "A title", "50% of it.", ["what_is", "n"], [False, True], [[text, "0"]] * rows)


def columns_of(text: str) -> list[str]:
    return re.findall(r"\\begin\{tabular\}\{@\{\}(.*)@\{\}\}", text)


def width_of(table: Table) -> float:
    """The width in points of a table that `latex` wrote, by its longest texts and by the columns that it breaks."""
    shown = table.paper or table
    places = [place for place, column in enumerate(shown.columns) if not (column.is_optional or column.is_drawn)]
    texts = [[shown.headers[place], *(row[place] for row in shown.rows)] for place in places]
    kinds = re.findall(r"[lr]|p\{(\d+)pt\}", columns_of(latex(table))[0])
    widths = [
        float(given) if given else LETTER_POINTS * max(map(len, column))
        for given, column in zip(kinds, texts, strict=True)
    ]
    return sum(widths) + GAP_POINTS * (len(widths) - 1)


def test_a_table_has_rules_a_caption_and_a_label() -> None:
    assert small().splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{A title. 50\% of it.}",
        r"\label{tab:a-name}",
        r"\smallskip\footnotesize",
        r"\setlength{\tabcolsep}{4pt}",
        r"\begin{tabular}{@{}lr@{}}",
        r"\toprule",
        r"what\_is & n \\",
        r"\midrule",
        r"a\_b & 0 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_many_rows_go_on_in_further_tables_since_two_columns_have_no_long_ones() -> None:
    text = small(2 * MAX_ROWS_OF_ONE + 1)
    assert re.findall(r"label\{(.*)\}", text) == ["tab:a-name", "tab:a-name-2", "tab:a-name-3"]
    assert r"\caption{A title, continued.}" in text
    assert "longtable" not in text
    assert text.count("a\\_b") == 2 * MAX_ROWS_OF_ONE + 1


def test_a_text_that_is_wider_than_the_page_is_broken_into_lines() -> None:
    assert columns_of(small(1, "x" * 30)) == ["lr"]
    assert small(1, "x" * int(COLUMN_POINTS / LETTER_POINTS)).startswith(r"\begin{table*}")
    [column] = columns_of(small(1, "word " * 80))
    assert column == f"p{{{TEXT_POINTS - GAP_POINTS - LETTER_POINTS:.0f}pt}}r"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_becomes_commands_and_letters_that_latex_has(text: str) -> None:
    left = COMMANDS.sub("", re.sub(r"\$[^$]*\$", "", ESCAPED.sub("", tex(text))))
    assert not set("&%$#_{}\\^<>|") & set(left)
    assert all(" " <= letter <= "~" or letter in ACCENTED for letter in left)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("▲\N{NO-BREAK SPACE}regressed", "regressed"),
        ("84.1 µs", r"84.1 $\mu$s"),
        ("[-0.5%, +1%] on 2026-12-01, of a-1 and x-2", r"[$-$0.5\%, +1\%] on 2026-12-01, of a-1 and x-2"),
        ("no `project` and `advance`; `a", r"no `project' and `advance'; `a"),
        ("a\\b~^", r"a\textbackslash{}b\textasciitilde{}\textasciicircum{}"),
        ("日本.py:Café", "??.py:Café"),
        ("ﬁle ő", "file o"),
    ],
)
def test_characters_that_latex_lacks_have_their_nearest_or_a_question_mark(text: str, expected: str) -> None:
    assert tex(text) == expected


def test_both_tables_of_a_paper_are_as_wide_as_its_text_and_advise_no_command(made_up_wide: pd.DataFrame) -> None:
    cases = table_of_cases(made_up_wide)
    found = table_for_paper(verdicts.verdicts_of(samples.every_verdict()))
    assert width_of(cases) <= TEXT_POINTS
    assert width_of(found) <= TEXT_POINTS
    for text in (latex(cases), latex(found)):
        assert "modprobe" not in text
        assert "Not known" not in text
    assert "Not known" in cases.aside  # where the page tells it


def test_a_case_with_a_doubt_has_a_letter_and_the_caption_says_what_it_means(made_up_wide: pd.DataFrame) -> None:
    row = made_up_wide.index[made_up_wide["ratio"].gt(1) & made_up_wide["parity"].map(str).eq("agrees")][1]
    made_up_wide.loc[row, ["ratio", "ratio_low", "ratio_high"]] = [1.2, 0.98, 1.5]
    text = latex(table_of_cases(made_up_wide))
    [line] = [line for line in text.splitlines() if "0.980--1.50" in line]
    assert line.endswith(r"1.20$\times$ & 0.980--1.50 & uw \\")
    assert "u: unclear, the interval includes 1. w: coarse, the interval is wide." in text
    assert re.search(r"cases left out, without a time \(\d+ skipped: .*; 1 failed: x{20,120}\\ldots\{\}\)\.", text)


@pytest.fixture
def made_up_wide(quick: pd.DataFrame) -> pd.DataFrame:
    """The cases of `quick`, the first of which failed with a long message."""
    quick.loc[quick.index[0], ["status", "reason"]] = ["failed", "x" * 300]
    return quick


@pytest.mark.needs("latex")
def test_every_table_of_a_run_and_a_check_compiles_and_none_is_wider_than_the_text(
    tmp_path: Path, quick: pd.DataFrame
) -> None:
    compared = samples.every_verdict()
    slower = {finding.case: 1.05 for finding in compared.findings if isinstance(finding.case, Case)}
    check = files(page_of(checks.write(tmp_path, compared, slower)))
    texts = [content.decode() for name, content in check.items() if name.endswith(".tex")]
    texts += [latex(table) for table in (table_of_cases(quick), table_of_medians(quick))]
    texts.append(latex(table_for_paper(verdicts.verdicts_of(samples.nasty()))))
    (tmp_path / "paper.tex").write_text(ARTICLE % "\n".join(texts))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", errors="replace", check=False)
    assert made.returncode == 0, made.stdout[-3000:]
    assert "Overfull" not in made.stdout

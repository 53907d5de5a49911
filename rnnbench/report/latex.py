r"""Tables in LaTeX that every engine sets in an article of one or two columns, with `\usepackage{booktabs}` alone.

A table has at most `MAX_ROWS_OF_ONE` rows and is at most as wide as the text: a longer one goes on in further tables,
and of a wider one the widest texts are broken into lines. All characters are of LaTeX's own fonts.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import cast

import pandas as pd

from rnnbench.report.words.names import one_line

MAX_ROWS_OF_ONE = 45  # rows of one table
COLUMN_POINTS = 200  # points: the width of a column in LaTeX's own article of two columns
TEXT_POINTS = 410  # points: the width of its text
LETTER_POINTS = 4.25  # points: a digit of \footnotesize, which is wider than most letters
GAP_POINTS = 8  # points between two columns
NARROWEST_POINTS = 60  # points of a text that is broken into lines
# What LaTeX reads as a command, what its first fonts lack, and what these would show as another character.
TEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "×": r"$\times$",
    "µ": r"$\mu$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "\N{MINUS SIGN}": "$-$",
    "→": r"$\to$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~",
    **dict.fromkeys("▲✕◇▼●", ""),  # beside the word of a verdict
}
ACCENTED = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ")
UNKNOWN_LETTER = "?"
QUOTED_TEXT = re.compile(r"`([^`]*)`")  # which LaTeX would begin and end with the same mark
NEGATIVE = re.compile(r"(?<![\w.)/-])-(?=\d)")  # the hyphen before a number
BREAK = r"\allowbreak{}"


def tables(
    label: str,
    title: str,
    note: str,
    headers: Sequence[str],
    are_numbers: Sequence[bool],
    rows: Sequence[Sequence[str]],
) -> str:
    """Return one table, or several for many rows; those that are wider than a column span two.

    `label`: without `tab:`; `title` and `note`: the caption of the first table; `are_numbers`: which columns are
    aligned on the right. All are plain text.
    """
    widths = [LETTER_POINTS * max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    broken = _broken(widths, are_numbers, TEXT_POINTS)
    is_wide = sum(widths) + GAP_POINTS * (len(widths) - 1) > COLUMN_POINTS
    columns = "".join(_column(place, are_numbers, broken) for place in range(len(headers)))
    parts = [rows[start : start + MAX_ROWS_OF_ONE] for start in range(0, len(rows), MAX_ROWS_OF_ONE)] or [[]]
    heads = list(map(tex, headers))
    texts = []
    for number, part in enumerate(parts, start=1):
        lines = [[_cell(text, is_broken=place in broken) for place, text in enumerate(row)] for row in part]
        style = pd.DataFrame(lines, columns=range(len(headers)), dtype=object).style.hide(axis="index")
        text = style.format_index(lambda place: heads[cast("int", place)], axis="columns").to_latex(
            hrules=True,
            column_format=f"@{{}}{columns}@{{}}",
            caption=tex(f"{title}. {note}".strip() if number == 1 else f"{title}, continued."),
            label=f"tab:{label}" if number == 1 else f"tab:{label}-{number}",
            environment="table*" if is_wide else None,
            position_float="centering",
        )
        small = "\\smallskip\\footnotesize\n\\setlength{\\tabcolsep}{4pt}\n\\begin{tabular}"
        texts.append(text.replace(r"\begin{tabular}", small, 1))
    return "\n".join(texts)


def tex(text: str) -> str:
    """Return plain text as LaTeX shows it on one line; a question mark stands for each character that it lacks."""
    quoted = QUOTED_TEXT.sub(r"`\1'", one_line(text))
    return "".join(map(_letter, NEGATIVE.sub("\N{MINUS SIGN}", quoted))).strip()


def _letter(letter: str) -> str:
    if letter in TEX:
        return TEX[letter]
    if " " <= letter <= "~" or letter in ACCENTED:
        return letter
    parts = unicodedata.normalize("NFKD", letter)  # without its accent, or the letters of a ligature
    return "".join(TEX.get(part, part) for part in parts if " " <= part <= "~") or UNKNOWN_LETTER


def _cell(text: str, *, is_broken: bool) -> str:
    if not is_broken:
        return tex(text)
    # A path has no spaces at which it could be broken.
    letters = (f"{_letter(letter)}{BREAK if letter in '/_.:-' else ''}" for letter in one_line(text))
    return f"{{\\raggedright {''.join(letters).strip()}\\par}}"


def _broken(widths: Sequence[float], are_numbers: Sequence[bool], room: float) -> dict[int, float]:
    """Return the columns of text that are broken into lines, with their new widths, so that all fit a width in points.

    The widest ones are, and become equally wide.
    """
    room -= GAP_POINTS * (len(widths) - 1)
    most = max(room, 0.0)  # points of a column
    texts = sorted((width, place) for place, width in enumerate(widths) if not are_numbers[place])
    room -= sum(width for width, is_number in zip(widths, are_numbers, strict=True) if is_number)
    for number, (width, _) in enumerate(texts):
        most = max(room / (len(texts) - number), NARROWEST_POINTS)
        if width > most:
            break
        room -= width
    return {place: most for width, place in texts if width > most}


def _column(place: int, are_numbers: Sequence[bool], broken: Mapping[int, float]) -> str:
    """Return how `tabular` sets a column."""
    if place in broken:
        return f"p{{{broken[place]:.0f}pt}}"
    return "r" if are_numbers[place] else "l"

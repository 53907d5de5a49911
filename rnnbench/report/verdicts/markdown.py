"""The comparison as GitHub-flavoured Markdown: the answer as heading, then every case, the worst first."""

from collections.abc import Sequence

from rnnbench.analysis.comparison import Comparison
from rnnbench.report.tables.formats.as_markdown import escape
from rnnbench.report.tables.formats.as_markdown import row as table_row
from rnnbench.report.verdicts import answer, forest
from rnnbench.report.verdicts.rows import VerdictRow, has_margins, rows
from rnnbench.report.verdicts.trend import EarlierCheck
from rnnbench.report.words.case_names import Names, names
from rnnbench.report.words.changes import GLYPHS
from rnnbench.text import encoded, plural

HEADS = ("case", "verdict", forest.HEAD, "change", "95% interval", "mean", "why")
RULES = (":---", ":---", ":---:", "---:", "---:", "---:", ":---")
STRONG = ("regressed", "improved")
MAX_COMMENT_BYTES = 60_000  # GitHub takes 65,536 characters


def comment(comparison: Comparison, earlier: Sequence[EarlierCheck]) -> str:
    """The comparison as a comment for a pull request, with the checks before it.

    Its first line is a marker that a browser does not show: whoever posts it finds the comment of the last check by
    that line, and replaces it.
    """
    marker = f"<!-- rnnbench check {comparison.suite} -->\n"
    trend = _trend(earlier)
    return marker + render(comparison, MAX_COMMENT_BYTES - _size([marker, trend])) + trend


def _trend(earlier: Sequence[EarlierCheck]) -> str:
    if not earlier:
        return ""
    lines = [
        ("checks before this one", "head", "base", "verdicts", "largest change"),
        RULES[:2] + RULES[:2] + RULES[2:3],
    ]
    lines += [(each.when, each.head, each.base, each.verdicts, each.largest) for each in earlier]
    escaped = [lines[0], lines[1], *(tuple(map(escape, line)) for line in lines[2:])]
    return "\n" + "".join(f"{table_row(line)}\n" for line in escaped)


def render(comparison: Comparison, max_bytes: int = 1_000_000) -> str:
    """At most `max_bytes` of UTF-8: rows that do not fit are counted, unchanged cases first, then the least bad."""
    case_names = names(finding.case for finding in comparison.findings)
    with_margin = has_margins(comparison)
    head = _head(comparison, case_names)
    shown = rows(comparison.findings, case_names)
    lines = [_line(row, with_margin=with_margin) for row in shown]
    table = [table_row(_with_margin(HEADS, "margin") if with_margin else HEADS)]
    table += [table_row(_with_margin(RULES, "---:") if with_margin else RULES)]
    legend = ["", forest.LEGEND] if any(row.bar for row in shown) else []
    notes = [*legend, *(["", *(f"- {escape(note)}" for note in comparison.notes)] if comparison.notes else [])]
    fixed = [*head, *table, *notes]
    room = max_bytes - _size([*fixed, *_left_out(len(lines))])
    if room < 0:
        return _cut(head, max_bytes)
    kept = _kept(comparison, lines, room)
    return "\n".join([*head, *table, *(lines[index] for index in kept), *_left_out(len(lines) - len(kept)), *notes, ""])


def _head(comparison: Comparison, case_names: Names) -> list[str]:
    first, rest = answer.sentences(comparison, case_names)
    subject, method = answer.subject(comparison), answer.method(comparison, case_names)
    parts = (f"## {escape(first)}", escape(rest), escape(subject), escape(method))
    return [line for part in parts if part for line in (part, "")]


def _kept(comparison: Comparison, lines: Sequence[str], room: int) -> list[int]:
    """The indices of the lines that fit, in order."""
    # The findings come worst first; unchanged cases are left out before those that were not compared.
    ranked = sorted(range(len(lines)), key=lambda index: comparison.findings[index].verdict == "unchanged")
    kept = []
    for index in ranked:
        room -= _size([lines[index]])
        if room < 0:
            break
        kept.append(index)
    return sorted(kept)


def _cut(lines: Sequence[str], max_bytes: int) -> str:
    """As many whole lines as fit."""
    kept = list(lines)
    while kept and _size(kept) > max_bytes:
        kept.pop()
    return "".join(f"{line}\n" for line in kept)


def _left_out(number: int) -> list[str]:
    return ["", f"{plural(number, 'row')} left out, the least bad, to keep this short."] if number else []


def _line(row: VerdictRow, *, with_margin: bool) -> str:
    glyph = GLYPHS[row.finding.verdict]
    verdict = f"{glyph} **{row.verdict}**" if row.verdict in STRONG else f"{glyph} {row.verdict}"
    change, interval, mean, why = map(escape, (row.change, row.interval, row.mean, row.why))
    cells = (escape(row.case), verdict, f"`{row.bar}`" if row.bar else "", change, interval, mean, why)
    return table_row(_with_margin(cells, row.margin) if with_margin else cells)


def _with_margin(cells: Sequence[str], margin: str) -> Sequence[str]:
    return (*cells[:-1], margin, cells[-1])


def _size(lines: Sequence[str]) -> int:
    """Bytes of UTF-8, each line with its line end."""
    return sum(len(encoded(line)) + 1 for line in lines)

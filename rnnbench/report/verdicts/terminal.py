"""What `rnnbench check` and `rnnbench compare` print: the cases, the worst first, and last the answer in words."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from rnnbench.analysis.comparison import Comparison, Finding
from rnnbench.report.colors import VERDICTS
from rnnbench.report.plain_text import plain_text
from rnnbench.report.verdicts import answer, sentence
from rnnbench.report.verdicts.rows import VerdictRow, has_margins, rows
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.case_names import Names, names

GAP = 2  # between columns
INDENT = 4  # of the line that says why
HEADS = ("case", "verdict", "change", "95% interval", "mean", "margin")
NARROWEST = 16  # minimum width of the column of names; longer names are folded
MAX_UNCHANGED = 10  # more are counted, not listed, where there is something else to see
MAX_LISTED = 200  # of any verdict, the worst first; `--json` has all
NAMED = 3  # cases that are named for one reason not to compare; more are counted
STYLES = {  # colours that stay apart under every common colour blindness, and the word beside them
    "regressed": f"bold {VERDICTS['regressed'].light}",
    "incomparable": VERDICTS["incomparable"].light,
    "undecided": VERDICTS["undecided"].light,
    "improved": f"bold {VERDICTS['improved'].light}",
    "unchanged": "dim",
}


@dataclass(frozen=True)
class VerdictScreen:
    """The whole output, laid out when the width of the console is known."""

    comparison: Comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's protocol."""
        yield from _parts(self.comparison, options.max_width)


def render(comparison: Comparison) -> RenderableType:
    """The output for a rich console of any width."""
    return VerdictScreen(comparison)


def text(comparison: Comparison, width: int = 100) -> str:
    """The output as plain text."""
    return plain_text(render(comparison), width)


def _parts(comparison: Comparison, width: int) -> Iterable[RenderableType]:
    case_names = names(finding.case for finding in comparison.findings)
    yield Text(answer.subject(comparison), style="bold")
    yield Text(answer.method(comparison, case_names), style="dim")
    yield Text()
    judged = [finding for finding in comparison.findings if finding.verdict is not None]
    shown, hidden = _shown(judged)
    listed = rows(shown, case_names)
    if listed:
        yield from _table(listed, HEADS if has_margins(comparison) else HEADS[:-1], width)
        yield Text()
    for verdict, count in Counter(finding.verdict for finding in hidden).items():
        yield Text(f"{count:,} more {'case is' if count == 1 else 'cases are'} {verdict}.", style="dim")
    if hidden:
        yield Text()
    missing = [finding for finding in comparison.findings if finding.verdict is None]
    if missing:
        yield from _missing(missing, case_names)
        yield Text()
    yield Text(answer.answer(comparison, case_names), style="bold")
    yield from (Text(one_line(note)) for note in comparison.notes)


def _shown(judged: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The cases to list, and those to count only: many unchanged ones, and all after the first `MAX_LISTED`."""
    unchanged = [finding for finding in judged if finding.verdict == "unchanged"]
    is_many = MAX_UNCHANGED < len(unchanged) < len(judged)
    shown = [finding for finding in judged if not (is_many and finding.verdict == "unchanged")]
    return shown[:MAX_LISTED], [*shown[MAX_LISTED:], *(unchanged if is_many else [])]


def _table(listed: Sequence[VerdictRow], heads: Sequence[str], width: int) -> Iterable[RenderableType]:
    """The numbers of each case and the reason below; neighbours with the same reason share its line."""
    lines = [_cells(row)[: len(heads)] for row in listed]
    widths = [max(cell_len(line[index]) for line in [tuple(heads), *lines]) for index in range(len(heads))]
    room = width - sum(widths[1:]) - GAP * (len(heads) - 1)
    widths[0] = max(NARROWEST, min(widths[0], room))
    yield _grid([[Text(head, style="dim") for head in heads]], widths)
    for (verdict, why), members in itertools.groupby(listed, key=lambda row: (row.verdict, row.why)):
        group = list(members)
        style = STYLES[verdict]
        yield _grid([_styled(_cells(row)[: len(heads)], style) for row in group], widths)
        if why:
            whose = {1: "", 2: "Both: "}.get(len(group), f"All {len(group):,}: ")
            yield Padding(Text(f"{whose}{why}"), (0, 0, 0, INDENT))


def _cells(row: VerdictRow) -> tuple[str, ...]:
    """As in HEADS."""
    return (row.case, row.verdict, row.change, row.interval, row.mean, row.margin)


def _styled(cells: Sequence[str], style: str) -> list[Text]:
    return [Text(cell, style=style if index in (1, 2) else "") for index, cell in enumerate(cells)]


def _grid(lines: Iterable[Sequence[Text]], widths: Sequence[int]) -> Grid:
    grid = Grid.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    for index, width in enumerate(widths):
        grid.add_column(width=width, justify="left" if index < 2 else "right", overflow="fold")
    for line in lines:
        grid.add_row(*line)
    return grid


def _missing(findings: Sequence[Finding], case_names: Names) -> Iterable[RenderableType]:
    """The cases that were not compared, by reason."""
    yield Text("Not compared")
    by_reason: dict[str, list[str]] = {}
    for finding in findings:
        by_reason.setdefault(sentence.render(finding), []).append(case_names.name(finding.case))
    for reason, cases in by_reason.items():
        more = f"; and {len(cases) - NAMED:,} more" if len(cases) > NAMED else ""
        yield Padding(Text(f"{reason}: {'; '.join(cases[:NAMED])}{more}"), (0, 0, 0, GAP))

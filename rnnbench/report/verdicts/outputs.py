"""Verdicts on a terminal, as Markdown, as JUnit's XML, as annotations of GitHub Actions, and a check's files."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from rnnbench.analysis.comparison import Subject
from rnnbench.errors import UserError
from rnnbench.report.colors import VERDICTS
from rnnbench.report.plain_text import plain_text
from rnnbench.report.table import escape
from rnnbench.report.verdicts.ci import command
from rnnbench.report.verdicts.verdicts import FILE, VerdictRow, Verdicts, earlier
from rnnbench.report.verdicts.words import instruction_counts
from rnnbench.report.words.units import GLYPHS, change, change_interval, round_percent
from rnnbench.store.folder import write_whole
from rnnbench.store.metrics import BY_NAME
from rnnbench.text import encoded, plural

GAP, INDENT = 2, 4  # between columns; of the line that says why
HEADS = ("case", "verdict", "change", "95% interval", "margin")
NARROWEST = 16  # minimum width of the column of names; longer names are folded
MAX_UNCHANGED = 10  # more are counted, not listed, where there is something else to see
MAX_LISTED = 200  # of any verdict, the worst first; `--json` has all
NAMED = 3  # cases that are named for one reason, or in one line; more are counted
MAX_BYTES = 60_000  # of Markdown; a comment on GitHub takes 65,536 characters
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # by XML 1.0
TAGS = {"regressed": "failure", "incomparable": "error", "undecided": "skipped", None: "skipped"}
PlaceOf = Callable[[Subject], tuple[str, int] | None]  # the file and the line of a case


@dataclass(frozen=True)
class VerdictScreen:
    """The cases, the worst first, and last the answer in words; laid out when the width of the console is known."""

    verdicts: Verdicts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's protocol."""
        verdicts = self.verdicts
        yield Text(verdicts.subject, style="bold")
        yield Text(f"{verdicts.method}\n", style="dim")
        unchanged = verdicts.by_verdict["unchanged"]
        is_many = MAX_UNCHANGED < len(unchanged) < len(verdicts.judged)
        listed = [row for row in verdicts.judged if not is_many or row.verdict != "unchanged"]
        if listed:
            yield from _table(listed[:MAX_LISTED], options.max_width, with_margin=" to " in verdicts.margins)
            yield Text()
        hidden = Counter(row.word for row in [*listed[MAX_LISTED:], *(unchanged if is_many else [])])
        for word, count in hidden.items():
            yield Text(f"{count:,} more {'case is' if count == 1 else 'cases are'} {word}.", style="dim")
        if hidden:
            yield Text()
        if missing := verdicts.by_verdict[None]:
            yield Text("Not compared")
            for reason, rows in itertools.groupby(sorted(missing, key=_sentence), key=_sentence):
                cases = [row.name for row in rows]
                more = f"; and {len(cases) - NAMED:,} more" if len(cases) > NAMED else ""
                yield Padding(Text(f"{reason}: {'; '.join(cases[:NAMED])}{more}"), (0, 0, 0, GAP))
            yield Text()
        yield Text(" ".join(filter(None, [verdicts.answer, verdicts.details])), style="bold")
        yield from map(Text, verdicts.notes)


def _sentence(row: VerdictRow) -> str:
    return row.sentence


def _table(rows: Sequence[VerdictRow], width: int, *, with_margin: bool) -> Iterable[RenderableType]:
    """The numbers of each case and the reason below; neighbours with the same reason share its line."""
    heads = HEADS if with_margin else HEADS[:-1]
    lines = [heads, *(_cells(row)[: len(heads)] for row in rows)]
    widths = [max(cell_len(line[index]) for line in lines) for index in range(len(heads))]
    widths[0] = max(NARROWEST, min(widths[0], width - sum(widths[1:]) - GAP * (len(heads) - 1)))
    yield _grid([[Text(head, style="dim") for head in heads]], widths)
    for (verdict, why), members in itertools.groupby(rows, key=lambda row: (row.verdict, row.sentence)):
        group = list(members)
        yield _grid([_styled(row, verdict)[: len(heads)] for row in group], widths)
        if why:
            whose = {1: "", 2: "Both: "}.get(len(group), f"All {len(group):,}: ")
            yield Padding(Text(f"{whose}{why}"), (0, 0, 0, INDENT))


def _cells(row: VerdictRow) -> tuple[str, ...]:
    return (row.name, row.word, row.change, row.interval, round_percent(row.margin))


def _styled(row: VerdictRow, verdict: str | None) -> list[Text]:
    weight = "bold " if verdict in ("regressed", "improved") else ""
    style = "dim" if verdict in ("unchanged", None) else f"{weight}{VERDICTS[verdict].light}"
    return [Text(cell, style=style if index in (1, 2) else "") for index, cell in enumerate(_cells(row))]


def _grid(lines: Iterable[Sequence[Text]], widths: Sequence[int]) -> Grid:
    grid = Grid.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    for index, width in enumerate(widths):
        grid.add_column(width=width, justify="left" if index < 2 else "right", overflow="fold")
    for line in lines:
        grid.add_row(*line)
    return grid


def terminal(verdicts: Verdicts, width: int = 100) -> str:
    """Return what a terminal shows, as plain text."""
    return plain_text(VerdictScreen(verdicts), width)


def markdown(verdicts: Verdicts, max_bytes: int = MAX_BYTES, *, marker: str = "", checks: Sequence[object] = ()) -> str:
    """Return GitHub-flavoured Markdown of at most `max_bytes`: the answer as heading, then the cases, the worst first.

    Rows that do not fit are counted, unchanged cases first, then the least bad. `marker`: the first line of a comment,
    by which the next check finds and replaces it; `checks`: those before this one.
    """
    pages = Environment(loader=PackageLoader("rnnbench.report.verdicts"), undefined=StrictUndefined, trim_blocks=True)  # noqa: S701 - Markdown, where `escape` does it
    pages.filters["md"] = escape
    template = pages.get_template("verdicts.md")
    rows = sorted(verdicts.rows, key=lambda row: row.verdict == "unchanged")
    count = len(rows)
    while True:
        shown = {"verdicts": verdicts, "rows": rows[:count], "left_out": plural(len(rows) - count, "row")}
        text = template.render(shown, glyphs=GLYPHS, marker=marker, earlier=checks, round_percent=round_percent)
        if (size := len(encoded(text))) <= max_bytes:
            return text
        if not count:
            return ""
        count = min(count - 1, count * max_bytes // size)


def junit(verdicts: Verdicts) -> str:
    """Return JUnit's XML, which most CI systems show as tests: a test case for each row."""
    tags = [_tag(verdicts, row) for row in verdicts.rows]
    root = ET.Element("testsuites")
    totals = {
        "name": _legal(f"rnnbench.{verdicts.suite}"),
        "tests": str(len(tags)),
        "failures": str(tags.count("failure")),
        "errors": str(tags.count("error")),
        "skipped": str(tags.count("skipped")),
        "time": f"{verdicts.seconds or 0:.3f}",
    }
    suite = ET.SubElement(root, "testsuite", totals)
    for row, tag in zip(verdicts.rows, tags, strict=True):
        names = {"classname": _legal(f"rnnbench.{verdicts.suite}"), "name": _legal(row.subject.key)}
        case, details = ET.SubElement(suite, "testcase", names), _legal(_details(row))
        if tag is not None:
            time = () if row.decided_by in ("counts", "instructions") else (row.change, row.interval)
            message = ": ".join(filter(None, [" ".join(filter(None, [row.word, *time])), row.sentence]))
            kind = {} if tag == "skipped" else {"type": row.word}  # JUnit's <skipped> has a message only
            ET.SubElement(case, tag, {"message": _legal(message), **kind}).text = details
        elif details:
            ET.SubElement(case, "system-out").text = details
    lines = [verdicts.subject, verdicts.answer, verdicts.details, *verdicts.notes]
    ET.SubElement(suite, "system-out").text = _legal("\n".join(filter(None, lines)))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _tag(verdicts: Verdicts, row: VerdictRow) -> str | None:
    """The element for a row; if no case was compared, nothing may look as if it had passed."""
    tag = TAGS.get(row.verdict)
    return tag if verdicts.compares or tag == "failure" else "error"


def _details(row: VerdictRow) -> str:
    """Everything that is known, one line each: both ratios, too."""
    lines = [row.reason or row.sentence]
    for key, label, estimate in (
        ("ratio", "typical call", row.ratio),
        ("mean_ratio", "mean of the calls", row.mean_ratio),
    ):
        if estimate:
            decides = " (decides)" if row.decided_by == key else ""
            lines.append(f"{label}: {change(estimate.value)} {change_interval(estimate)}".rstrip() + decides)
    for each in row.changes:
        metric = BY_NAME[each["metric"]]
        lines.append(f"{metric.label}: {each['base']} -> {each['head']}{' bytes' if metric.unit == 'bytes' else ''}")
    if row.instructions:
        lines.append(instruction_counts(row.instructions))
    if row.described:
        lines += [f"margin: {round_percent(row.margin)}", f"replicates: {row.replicates}"]
    return "\n".join(filter(None, lines))


def _legal(text: str) -> str:
    return FORBIDDEN.sub("�", text)


def annotations(verdicts: Verdicts, place_of: PlaceOf = lambda case: None, most: int = 9) -> list[str]:
    """Return workflow commands: an error for each of the `most` worst regressions, and a line for each other matter.

    A regression stands beside its cell's code, if `place_of` knows it. GitHub shows ten errors of a step and drops the
    others, so by default the line for the rest is the tenth.
    """
    regressed = verdicts.by_verdict["regressed"]
    lines = []
    for row in regressed[:most]:
        brief = "" if row.decided_by == "mean_ratio" else row.brief  # which the sentence of these begins with
        message = "; ".join(filter(None, dict.fromkeys([brief, row.sentence])))
        lines.append(command("error", f"Regressed: {row.name}", message, place_of(row.subject)))
    if rest := regressed[most:]:
        lines.append(command("error", f"{plural(len(rest), 'more case')} regressed", _listed(rest)))
    if apart := verdicts.by_verdict["incomparable"]:
        lines.append(command("error", f"{plural(len(apart), 'case')} not comparable", _listed(apart)))
    if opens := verdicts.by_verdict["undecided"]:
        level = "warning" if verdicts.compares else "error"
        lines.append(command(level, f"{plural(len(opens), 'case')} not decided", _listed(opens)))
    return lines


def _listed(rows: Sequence[VerdictRow]) -> str:
    more = [f"and {len(rows) - NAMED:,} more"] if len(rows) > NAMED else []
    return "; ".join([*(f"{row.name}: {row.brief}" for row in rows[:NAMED]), *more])


def write_files(verdicts: Verdicts, folder: Path) -> None:
    """Write `verdicts.md`, `verdicts.json` and `junit.xml` into an existing folder.

    Raises UserError if they can't be written.
    """
    try:
        marker = f"<!-- rnnbench check {verdicts.suite} -->\n"
        comment = markdown(verdicts, marker=marker, checks=earlier(folder, verdicts.suite))
        for name, text in {"verdicts.md": comment, FILE: verdicts.json(), "junit.xml": junit(verdicts)}.items():
            write_whole(folder / name, encoded(text))
    except OSError as fault:
        raise UserError(f"{folder}: can't be written: {fault.strerror}") from None

"""Verdicts on a terminal, as Markdown, as JUnit's XML, as annotations of GitHub Actions, and a check's files.

And the answer of `rnnbench bisect`, in words and as JSON.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from rnnbench.analysis.bisection import Bisection, CaseChange, SlowCommit
from rnnbench.analysis.comparison import RANKS, WITNESS_OF, WORK, Finding
from rnnbench.analysis.verdict import Outcome, Q
from rnnbench.errors import UserError
from rnnbench.report.drawing.marks import VERDICTS
from rnnbench.report.table import escape
from rnnbench.report.verdicts.reasons import (
    change_of,
    differences,
    explained,
    interval_of,
    is_by_number,
    size,
    size_together,
    why,
)
from rnnbench.report.verdicts.verdicts import VERDICTS_FILE, VERDICTS_VERSION, Verdicts
from rnnbench.report.words.names import names, one_line
from rnnbench.report.words.units import (
    GLYPHS,
    change,
    change_interval,
    change_span,
    duration,
    round_percent,
    slower,
)
from rnnbench.store.folder import write_whole
from rnnbench.store.records import Case
from rnnbench.text import encoded, first_few, plural

GAP = 2  # between columns
INDENT = 4  # of the line that says why
HEADS = ("case", "verdict", "change", "95% interval", "margin")
MIN_NAME_WIDTH = 16  # minimum width of the column of names; longer names are folded
MAX_UNCHANGED = 10  # more are counted, not listed, where there is something else to see
MAX_SCREEN_LINES = 14  # of the table on a terminal, the worst cases first
MIN_LISTED = 3  # the fewest cases in it
MAX_MARKDOWN_ROWS = 100  # in Markdown
MAX_COMMENT = 60_000  # characters; GitHub takes 65,536
MAX_ERRORS = 9  # GitHub shows ten errors of a step and drops the others; the line for the rest is the tenth
NAMES_LISTED = 3  # cases of one reason or in one line, or commits; more are counted
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # by XML 1.0
TAGS: dict[Outcome | None, str] = {
    "regressed": "failure",
    "incomparable": "error",
    "undecided": "skipped",
    None: "skipped",
}
LINKED = re.compile(r"(?<=@)(?=[A-Za-z0-9])|(?<=:)(?=//)|(?<=www)(?=\.)")  # where GitHub sees a name or an address
INVISIBLE = "\N{ZERO WIDTH SPACE}"
PlaceOf = Callable[[Case], tuple[str, int] | None]  # the file and the line of a case


@dataclass(frozen=True)
class VerdictScreen:
    """The answer in words, then the worst cases, and how they were compared; laid out when the width is known.

    It fits one screen: what is not listed is counted.
    """

    verdicts: Verdicts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines, as rich asks for them."""
        yield Text(" ".join(filter(None, [self.verdicts.answer, self.verdicts.details])), style="bold")
        yield Text(self.verdicts.subject)
        doubts = {row.cause for row in self.verdicts.judged if row.cause}
        if len(doubts) == 1:  # else each row has its own
            doubt = doubts.pop()
            if doubt not in self.verdicts.causes:
                yield Text(f"Timed because {doubt}.", style="dim")
        yield Text()
        same = self.verdicts.by_verdict["unchanged"]
        others = [row for row in self.verdicts.judged if row.verdict != "unchanged"]
        candidates = others if others and len(same) > MAX_UNCHANGED else [*others, *same]
        rows = [(row, explained(row, has_cause=bool(doubts))) for row in candidates]
        if visible := _that_fit(rows, options.max_width):
            yield from _table(
                self.verdicts, visible, options.max_width, HEADS if self.verdicts.has_margins else HEADS[:-1]
            )
        if hidden := Counter(row.word for row in self.verdicts.judged) - Counter(row.word for row, _ in visible):
            more = ", ".join(f"{count:,} {word}" for word, count in hidden.items())
            yield Text(f"Not listed: {more}. The page and --json have all.", style="dim")
        missing: dict[str, list[str]] = {}
        for row in self.verdicts.by_verdict[None]:
            missing.setdefault(why(row), []).append(self.verdicts.name(row))
        if missing:
            reasons = [f"  {reason}: {few(cases)}" for reason, cases in missing.items()]
            yield Text("\n".join(["Not compared", *reasons]))
        yield Text(f"{self.verdicts.method}", style="dim")
        yield from map(Text, self.verdicts.notes)


def _that_fit(rows: Sequence[tuple[Finding, str]], width: int) -> list[tuple[Finding, str]]:
    """Return the first rows, with why, that fill at most MAX_SCREEN_LINES; at least MIN_LISTED.

    The lines of a reason are counted once.
    """
    visible: list[tuple[Finding, str]] = []
    lines = 0
    before = ""
    for row, reason in rows:
        lines += 1 + (-(-len(reason) // (width - INDENT)) if reason != before else 0)
        before = reason
        if lines > MAX_SCREEN_LINES and len(visible) >= MIN_LISTED:
            break
        visible.append((row, reason))
    return visible


def _table(
    verdicts: Verdicts, rows: Sequence[tuple[Finding, str]], width: int, heads: Sequence[str]
) -> Iterator[RenderableType]:
    """Yield the numbers of each case and the reason below; neighbours with the same reason share its line."""
    lines = [
        (verdicts.name(row), row.word, change_of(row), interval_of(row), round_percent(row.margin)) for row, _ in rows
    ]
    widths = [max(map(cell_len, column)) for column in zip(heads, *(line[: len(heads)] for line in lines), strict=True)]
    widths[0] = max(MIN_NAME_WIDTH, min(widths[0], width - sum(widths[1:]) - GAP * (len(heads) - 1)))

    def grid(lines: Sequence[Sequence[str]], style: str, styled: Sequence[int]) -> Grid:
        table = Grid.grid(padding=(0, GAP, 0, 0), pad_edge=False)
        for place, columns in enumerate(widths):
            table.add_column(width=columns, justify="left" if place < 2 else "right", overflow="fold")
        for line in lines:
            table.add_row(*(Text(line[place], style if place in styled else "") for place in range(len(heads))))
        return table

    yield grid([heads], "dim", range(len(heads)))
    pairs = zip(rows, lines, strict=True)
    for (outcome, reason), members in groupby(pairs, lambda pair: (pair[0][0].outcome, pair[0][1])):
        group = [line for _, line in members]
        weight = "bold " if outcome in ("regressed", "improved") else ""
        yield grid(group, "dim" if outcome == "unchanged" else f"{weight}{VERDICTS[outcome].light}", (1, 2))
        if reason:
            whose = {1: "", 2: "Both: "}.get(len(group), f"All {len(group):,}: ")
            yield Padding(Text(f"{whose}{reason}"), (0, 0, 0, INDENT))


def few(texts: Sequence[str]) -> str:
    """Return the first texts, which may have commas, and how many others there are."""
    more = [f"and {len(texts) - NAMES_LISTED:,} more"] if len(texts) > NAMES_LISTED else []
    return "; ".join([*texts[:NAMES_LISTED], *more])


def rendered(template: str, **values: Any) -> str:
    """Return the text of a template; only XML is escaped by itself."""
    templates = Environment(
        loader=PackageLoader("rnnbench.report.verdicts"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=template.endswith("xml"),
    )
    words = {"why": why, "explained": explained, "change_of": change_of, "interval_of": interval_of}
    templates.filters |= {"md": escape, "round_percent": round_percent, **words}
    return templates.get_template(template).render(values)


def markdown(verdicts: Verdicts, label: str = "", most: int = MAX_MARKDOWN_ROWS) -> str:
    """Return GitHub-flavoured Markdown: a heading of a few words, the answer, then the cases, the worst first.

    Unchanged cases are folded. `label`: begins the heading, in plain text; `most`: rows.
    """
    same = verdicts.by_verdict["unchanged"]
    others = [row for row in verdicts.findings if row.outcome != "unchanged"]
    first = others[:most]
    tail = same[: most - len(first)]
    hidden = len(verdicts.findings) - len(first) - len(tail)
    answer = verdicts.answer if verdicts.answer != f"{verdicts.headline}." else ""
    return rendered(
        "verdicts.md",
        verdicts=verdicts,
        glyph=GLYPHS[verdicts.findings[0].outcome] if verdicts.findings else "",
        sentences=" ".join(filter(None, [answer, verdicts.details])),
        first=first,
        tail=tail,
        same=len(same),
        left_out=plural(hidden, "row") if hidden else "",
        glyphs=GLYPHS,
        label=label,
    )


def comment(checks: Sequence[tuple[str, Verdicts]], name: str, run: str = "") -> str:
    """Return the verdicts of checks as a comment on a pull request, the worst first.

    `checks`: each with a label; `run`: the address of the job that made them, which is linked.

    Its first line, which nobody sees, holds the `name` alone, so that a check which another job has made can't choose
    it. The comment mentions nobody and links nothing else, whatever the code under test has called its cells.
    """
    worst_first = sorted(checks, key=lambda check: min((RANKS[row.outcome] for row in check[1].findings), default=0))
    most = max(1, MAX_MARKDOWN_ROWS // len(checks))
    texts = [markdown(each, label if len(checks) > 1 else "", most) for label, each in worst_first]
    marker = " ".join(name.split()).replace("--", "-").replace(">", "")
    whole = LINKED.sub(INVISIBLE, "\n".join(texts))
    if len(whole) > MAX_COMMENT:
        whole = whole[: whole.rfind("\n", 0, MAX_COMMENT)]
        whole += "\n\nThe rest is left out, to keep this short.\n"
    link = f"\n[The run that measured this]({run})\n" if run else ""
    return f"<!-- rnnbench comment {marker} -->\n{whole}{link}"


def junit(verdicts: Verdicts) -> str:
    """Return JUnit's XML, which most CI systems show as tests: a test case for each row."""
    tags = [TAGS.get(row.outcome) for row in verdicts.findings]
    if not verdicts.compares:  # then nothing may look as if it had passed
        tags = [tag if tag == "failure" else "error" for tag in tags]
    text = rendered(
        "junit.xml",
        verdicts=verdicts,
        rows=list(zip(verdicts.findings, tags, strict=True)),
        counts={tag: tags.count(tag) for tag in ("failure", "error", "skipped")},
        lines=[verdicts.subject, verdicts.answer, verdicts.details, *verdicts.notes],
        change=change,
        change_interval=change_interval,
        witness_of=WITNESS_OF,
    )
    return FORBIDDEN.sub("�", text)


def annotations(verdicts: Verdicts, place_of: PlaceOf = lambda case: None) -> list[str]:
    """Return workflow commands: an error for each of the worst regressions, and a line for each other matter.

    A regression stands beside its cell's code, if `place_of` knows it.
    """
    regressed = verdicts.by_verdict["regressed"]
    lines = []
    for row in regressed[:MAX_ERRORS]:
        message = why(row)
        if is_by_number(row) and (row.witness != "mean_ratio" or row.family):
            message = "; ".join(filter(None, [size(row), message]))
        lines.append(command("error", f"Regressed: {verdicts.name(row)}", message, place_of(row.case)))
    is_unchecked = not verdicts.compares or verdicts.exit_code() == 3
    rest = {
        "{} more regressed": ("error", regressed[MAX_ERRORS:]),
        "{} not comparable": ("error", verdicts.by_verdict["incomparable"]),
        "{} not decided": ("error" if is_unchecked else "warning", verdicts.by_verdict["undecided"]),
        "{} regressed as accepted": ("notice", verdicts.by_verdict["accepted"]),
    }
    for title, (level, rows) in rest.items():
        if rows:
            told = [
                f"{verdicts.name(row)}: {size_together(row)}{f'; accepted: {row.accepted}' if row.accepted else ''}"
                for row in rows
            ]
            cases = few(told)
            lines.append(command(level, title.format(plural(len(rows), "case")), cases))
    return lines


def command(level: str, title: str, message: str, place: tuple[str, int] | None = None) -> str:
    """Return a workflow command of GitHub Actions, which shows it on the run's page, or beside the code at `place`."""

    def escaped(text: str, more: str = "") -> str:
        return "".join(f"%{ord(letter):02X}" if letter in f"%\r\n{more}" else letter for letter in text)

    at = f"file={escaped(place[0], ':,')},line={place[1]}," if place else ""
    return f"::{level} {at}title={escaped(title, ':,')}::{escaped(message)}"


def write_files(verdicts: Verdicts, folder: Path) -> None:
    """Write `verdicts.md`, `verdicts.json` and `junit.xml` into an existing folder.

    Raises UserError if they can't be written.
    """
    try:
        for name, text in {
            "verdicts.md": comment([("", verdicts)], verdicts.suite),
            VERDICTS_FILE: verdicts.json(),
            "junit.xml": junit(verdicts),
        }.items():
            write_whole(folder / name, encoded(text))
    except OSError as fault:
        raise UserError(f"{folder}: can't be written: {fault.strerror}") from None


def bisection_text(answer: Bisection) -> str:
    """Return the whole answer as plain text."""
    labels, _ = names(answer.cases)

    def worst_first(changes: Mapping[str, CaseChange]) -> list[str]:
        """Return `gru loop: 5.1% slower (+4.2% to +6.0%)` for each case."""
        return [f"{labels[key]}: {_size(changes[key])}" for key in sorted(changes, key=lambda key: -changes[key].log)]

    def work(cause: SlowCommit) -> str:
        """Return the counts that differ in the case in which most do."""
        counts = max((change.changes for change in _slower_cases(cause.cases).values()), key=len, default=())
        return differences(each for each in counts if each.metric in WORK)

    return rendered(
        "bisection.txt",
        answer=answer,
        named=NAMES_LISTED,
        slow=_slower_cases,
        is_slower=any(change.verdict == "regressed" for change in answer.total.values()),
        undecided=sum(change.verdict == "undecided" for change in answer.total.values()),
        worst_first=worst_first,
        work=work,
        unexplained=few([labels[key] for key in answer.unexplained]),
        commits=lambda commits: first_few([commit.short for commit in commits], NAMES_LISTED),
        plural=plural,
        one_line=one_line,
        duration=duration,
        round_percent=round_percent,
        max_error=Q,
    ).removesuffix("\n")


def _slower_cases(cases: Mapping[str, CaseChange]) -> Mapping[str, CaseChange]:
    """Return the slower cases; all, if time shows none."""
    return {key: change for key, change in cases.items() if change.verdict == "regressed"} or cases


def _size(change: CaseChange) -> str:
    return f"{slower(change.ratio.value)} ({change_span(change.ratio)})" if change.ratio else "its time is not known"


def bisection_json(answer: Bisection) -> str:
    """Return everything that is known, as one JSON object."""
    content = {"schema_version": VERDICTS_VERSION, **asdict(answer), "is_complete": answer.is_complete}
    content["cases"] = [case.key for case in answer.cases]
    for part, of_part in ((content, "total"), *((cause, "cases") for cause in content["causes"])):
        part[of_part] = [{"case": key, **change} for key, change in part[of_part].items()]
    return json.dumps(content, indent=2, allow_nan=False) + "\n"

"""The page of one run."""

from datetime import UTC, datetime

from rnnbench.report.page import sections
from rnnbench.report.page.page import Page
from rnnbench.report.page.sections import Content
from rnnbench.report.words import headline, noise
from rnnbench.report.words.axes import one_line

FIRST = "ratio"  # the figure of the first screen


def run_page(content: Content) -> Page:
    """The page of a run from its content."""
    summary, info = content.summary, content.info
    first, *more = headline.sentences(summary, info)
    status = "still running" if info.status == "running" else "interrupted"
    name, about = one_line(info.suite), one_line(info.description)
    return Page(
        name=name,
        heading=f"{name}: {about}" if about else name,
        answer=first,
        more=" ".join([*more, headline.limit(summary)]).strip(),
        facts=[*filter(None, [headline.counts(summary), when(info.started), noise.brief(content.noise)])],
        warning="" if info.status == "finished" else f"this run was {status} when this was written",
        first=content.pictures.get(FIRST),
        sections=sections.of(content),
        cases=summary,
    )


def when(started: str) -> str:
    """`2026-11-25 02:17 UTC`; the recorded text if it is not a time."""
    try:
        return f"{datetime.fromisoformat(started).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):  # in the first or the last hours of all years
        return one_line(started)

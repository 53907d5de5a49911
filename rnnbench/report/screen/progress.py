"""Progress of a run on standard error: a bar on a terminal, a line for each replicate elsewhere."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from rnnbench.harness.turns.progress import Progress as RunProgress
from rnnbench.text import plural

ShowRun = Callable[[RunProgress], None]
Draw = Callable[[str, float, int, float | None], None]  # words, how many are done, of how many in total, seconds left

REDRAW_SECONDS = 0.1  # rounds in the user's own process have turns of about 10 ms
BAR_WIDTH = 24  # characters, in a notebook


@contextmanager
def shown_progress() -> Iterator[ShowRun]:
    """Yield a function that shows each step of a run; on a terminal, its bar disappears at the end."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _with_notices(console, _lines(console))
        return
    with _bar(console, "starting the first worker", lambda step: _stage(step, "replicate")) as show:
        yield _with_notices(console, show)


@contextmanager
def shown_profiling() -> Iterator[ShowRun]:
    """Like `shown_progress`, for cases that are profiled one after another."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console, "starting a worker", lambda step: "profiling") as show:
            yield _with_notices(console, show)
        return
    yield _with_notices(
        console,
        lambda step: None if step.visits_done else console.print(f"profiling: {plural(step.visits, 'case')}"),
    )


@contextmanager
def shown_rounds(*, is_wanted: bool = True) -> Iterator[ShowRun]:
    """Like `shown_progress`, for rounds in this process: a bar on a terminal and in a notebook, nothing elsewhere."""
    if not is_wanted:
        yield lambda step: None
        return
    console = Console(stderr=True)
    if console.is_jupyter:
        # Not rich's own bar, which needs ipywidgets there, and warns without it.
        with _in_notebook() as show:
            yield _forward(_now_and_then(show))
    elif console.is_terminal:
        with _bar(console, "checking outputs", lambda step: _stage(step, "round")) as show:
            yield _forward(_now_and_then(show))
    else:
        yield lambda step: None


@contextmanager
def shown_points(*, is_wanted: bool = True) -> Iterator[Callable[[int, int], ShowRun]]:
    """Like `shown_rounds`, for a sweep: yields what shows the rounds of point `number` of so many `points`."""
    with shown_rounds(is_wanted=is_wanted) as show:
        yield (
            lambda number, points: (
                lambda step: show(
                    RunProgress(
                        step.replicate,
                        number * max(1, step.visits) + step.visits_done,
                        points * max(1, step.visits),
                        None if step.seconds_left is None else step.seconds_left * (points - number),
                    )
                )
            )
        )


def _with_notices(console: Console, show: ShowRun) -> ShowRun:
    """Show each step, and print its notice on a line that stays."""

    def noticed(step: RunProgress) -> None:
        if step.notice:
            console.print(step.notice, soft_wrap=True, highlight=False, markup=False)
        show(step)

    return noticed


@contextmanager
def _bar(console: Console, first: str, stage: Callable[[RunProgress], str]) -> Iterator[ShowRun]:
    # Drawn only when something happened: a thread that redraws would take time from the cores that are measured.
    with bar(console, first, auto_refresh=False) as draw:
        yield lambda step: draw(stage(step), step.visits_done, step.visits, step.seconds_left)


@contextmanager
def bar(console: Console, first: str, *, auto_refresh: bool) -> Iterator[Draw]:
    """Show a bar on a terminal until the end; yields a function that draws it, with words without markup.

    `first`: words until the first drawing; `auto_refresh`: a thread keeps the spinner turning.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True, auto_refresh=auto_refresh) as shown:
        task = shown.add_task(first, total=None, left="")
        shown.refresh()
        yield lambda words, done, total, seconds_left: shown.update(
            task, description=words, completed=done, total=total, left=time_left(seconds_left), refresh=True
        )


@contextmanager
def _in_notebook() -> Iterator[ShowRun]:
    """Show a line below the cell, and nothing at the end: what a saved notebook keeps is empty."""
    from IPython.display import display

    shown: Any = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def show(step: RunProgress) -> None:
        full = BAR_WIDTH * step.visits_done // max(1, step.visits)
        bar = "█" * full + "░" * (BAR_WIDTH - full)
        shown.update({"text/plain": f"{_stage(step, 'round')} {bar} {time_left(step.seconds_left)}"}, raw=True)

    try:
        yield show
    finally:
        shown.update({"text/plain": ""}, raw=True)


def _forward(show: ShowRun) -> ShowRun:
    """Show steps as parts of a bar that never goes back, although more rounds may turn out to be needed."""
    furthest = 0.0

    def forward(step: RunProgress) -> None:
        nonlocal furthest
        furthest = max(furthest, step.visits_done / max(1, step.visits) if step.replicate else 0.0)
        show(replace(step, visits_done=round(1000 * furthest), visits=1000))

    return forward


def _now_and_then(show: ShowRun) -> ShowRun:
    last = -REDRAW_SECONDS

    def throttled(step: RunProgress) -> None:
        nonlocal last
        if step.stage or time.monotonic() - last >= REDRAW_SECONDS:
            show(step)
            last = time.monotonic()

    return throttled


def _lines(console: Console) -> ShowRun:
    shown, quarter = -1, 0

    def show(step: RunProgress) -> None:
        nonlocal shown, quarter
        if step.is_counting:
            if not step.visits_done:
                console.print(f"{_stage(step, 'replicate')}: {plural(step.visits, 'count')}")
                quarter = 1
            elif 4 * step.visits_done >= quarter * step.visits and step.visits_done < step.visits:
                counted = f"{_stage(step, 'replicate')}: {step.visits_done} of {step.visits}"
                console.print(", ".join(filter(None, [counted, time_left(step.seconds_left)])))
                quarter += 1
        elif step.replicate == 0 > shown:
            shown = 0
            console.print(f"{_stage(step, 'replicate')}: {plural(step.visits, 'case')}")
        elif step.replicate > shown and step.seconds_left is not None:
            shown = step.replicate
            groups = plural(step.visits, "group")
            console.print(
                ", ".join(filter(None, [f"replicate {step.replicate}: {groups}", time_left(step.seconds_left)]))
            )

    return show


def _stage(step: RunProgress, unit: str) -> str:
    if step.stage:
        return step.stage
    if step.is_counting:
        return "counting instructions"
    if step.replicate:
        return f"{unit} {step.replicate}"
    return "checking parity, counting" if unit == "replicate" else "warming up"


def time_left(seconds: float | None) -> str:
    """The time left in words; empty if it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"about {hours:,} h {minutes:02d} min left"
    return f"about {minutes} min {seconds:02d} s left" if minutes else f"about {seconds} s left"

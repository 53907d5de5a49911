"""Progress of a run on standard error: a bar on a terminal, a line for each replicate elsewhere."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from rnnbench.harness.turns.progress import Progress as RunProgress
from rnnbench.text import plural, rounded_up

ShowRun = Callable[[RunProgress], None]
Draw = Callable[[str, float, int, float | None], None]  # words, how many are done, of how many in total, seconds left

REDRAW_SECONDS = 0.1  # rounds in the user's own process have turns of milliseconds
BAR_WIDTH = 24  # characters, in a notebook


@contextmanager
def shown_progress(words: str = "") -> Iterator[ShowRun]:
    """Yield a function that shows each step of a run; on a terminal, its bar disappears at the end.

    `words`: what is done, if it is not a run.
    """
    console = Console(stderr=True)
    is_drawn = console.is_terminal
    with bar(console, "starting a worker", auto_refresh=False) if is_drawn else nullcontext() as draw:
        if draw is None:
            yield _lines(console, words)
        else:
            yield lambda step: draw(
                words or _stage(step, "replicate"), step.visits_done, step.visits, step.seconds_left
            )


@contextmanager
def shown_rounds(*, is_wanted: bool = True) -> Iterator[ShowRun]:
    """Like `shown_progress`, for rounds in this process: a bar on a terminal and in a notebook, nothing elsewhere."""
    console = Console(stderr=True)
    drawing: AbstractContextManager[Draw | None] = nullcontext()
    if is_wanted and console.is_jupyter:  # rich's own bar needs ipywidgets there, and warns without it
        drawing = _in_notebook()
    elif is_wanted and console.is_terminal:
        drawing = bar(console, "checking outputs", auto_refresh=False)
    with drawing as draw:
        yield _forward(draw) if draw else lambda step: None


def at_point(show: ShowRun, number: int, points: int) -> ShowRun:
    """Return a function that shows the rounds of point `number` of a sweep of so many `points`."""

    def show_point(step: RunProgress) -> None:
        visits = max(1, step.visits)
        left = None if step.seconds_left is None else step.seconds_left * (points - number)
        done = number * visits + step.visits_done
        show(replace(step, visits_done=done, visits=points * visits, seconds_left=left))

    return show_point


@contextmanager
def bar(console: Console, first: str, *, auto_refresh: bool) -> Iterator[Draw]:
    """Show a bar on a terminal until the end; yields a function that draws it, with words without markup.

    `first`: words until the first drawing; `auto_refresh`: a thread keeps the spinner turning, and takes time from the
    cores.
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
def _in_notebook() -> Iterator[Draw]:
    """Show a line below the cell, and nothing at the end: what a saved notebook keeps is empty."""
    from IPython.display import display

    shown: Any = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def draw(words: str, done: float, total: int, seconds_left: float | None) -> None:
        full = int(BAR_WIDTH * done / max(1, total))
        drawn = "█" * full + "░" * (BAR_WIDTH - full)
        shown.update({"text/plain": f"{words} {drawn} {time_left(seconds_left)}"}, raw=True)

    try:
        yield draw
    finally:
        shown.update({"text/plain": ""}, raw=True)


def _forward(draw: Draw) -> ShowRun:
    """Draw now and then how far it is, by a bar that never goes back, although more rounds may be needed."""
    furthest, last = 0.0, -REDRAW_SECONDS

    def forward(step: RunProgress) -> None:
        nonlocal furthest, last
        furthest = max(furthest, step.visits_done / max(1, step.visits) if step.replicate else 0.0)
        if step.stage or time.monotonic() - last >= REDRAW_SECONDS:
            draw(_stage(step, "round"), furthest, 1, step.seconds_left)
            last = time.monotonic()

    return forward


def _lines(console: Console, words: str) -> ShowRun:
    """Print a line when a replicate begins, and at each quarter of what is counted."""
    shown = set[tuple[str, int]]()

    def show(step: RunProgress) -> None:
        quarter = 4 * step.visits_done // max(1, step.visits) if step.is_counting else 0
        now = words or _stage(replace(step, stage=""), "replicate")
        is_early = bool(step.replicate) and step.seconds_left is None and not step.is_counting
        if (now, quarter) in shown or quarter == 4 or is_early:
            return
        shown.add((now, quarter))
        noun = "count" if step.is_counting else "group" if step.replicate else "case"
        done = f"{step.visits_done} of {step.visits}" if quarter else plural(step.visits, noun)
        console.print(", ".join(filter(None, [f"{now}: {done}", time_left(step.seconds_left)])))

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
    """Return the time left in words; empty if it is not known."""
    return "" if seconds is None or not math.isfinite(seconds) else f"about {rounded_up(seconds)} left"

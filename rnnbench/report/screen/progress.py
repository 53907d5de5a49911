"""Progress of a run on standard error: a bar on a terminal, a line for each replicate elsewhere."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from rnnbench.harness.turns.schedule import Progress as RunProgress
from rnnbench.text import plural, rounded_up

ShowRun = Callable[[RunProgress], None]
Draw = Callable[[str, float, float | None], None]  # words, which share is done, seconds left

REDRAW_SECONDS = 0.1  # rounds in the user's own process have turns of milliseconds
BAR_WIDTH = 24  # characters, in a notebook


@contextmanager
def shown_progress(words: str = "") -> Iterator[ShowRun]:
    """Yield a function that shows each step of a run; on a terminal, its bar disappears at the end.

    `words`: what is done, if it is not a run.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console, words)
        return
    with _bar(console, "starting a worker") as draw:
        yield lambda step: draw(
            words or ", ".join(filter(None, [_stage(step), so_far(step)])), _share(step), step.seconds_left
        )


@contextmanager
def shown_rounds(*, is_wanted: bool = True) -> Iterator[ShowRun]:
    """Yield a function that shows rounds in this process: a bar on a terminal and in a notebook, nothing elsewhere."""
    console = Console(stderr=True)
    if not is_wanted or not (console.is_jupyter or console.is_terminal):
        yield lambda step: None
        return
    # In a notebook rich's own bar needs ipywidgets, and warns without it.
    with _in_notebook() if console.is_jupyter else _bar(console, "checking outputs") as draw:
        yield _forward(draw)


def at_point(show: ShowRun, number: int, points: int) -> ShowRun:
    """Return a function that shows the replicates of point `number` of a sweep of so many `points`."""

    def show_point(step: RunProgress) -> None:
        visits = max(1, step.visits)
        left = None if step.seconds_left is None else step.seconds_left * (points - number)
        done = number * visits + step.visits_done
        show(replace(step, visits_done=done, visits=points * visits, seconds_left=left))

    return show_point


@contextmanager
def _bar(console: Console, first: str) -> Iterator[Draw]:
    """Show a bar on a terminal until the end; yields a function that draws it, with words without markup.

    `first`: words until the first drawing. No thread keeps the spinner turning, since that takes time from the cores.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task(first, total=None, left="")
        progress.refresh()
        yield lambda words, share, seconds_left: progress.update(
            task, description=words, completed=share, total=1, left=time_left(seconds_left), refresh=True
        )


@contextmanager
def _in_notebook() -> Iterator[Draw]:
    """Show a line below the cell, and nothing at the end: what a saved notebook keeps is empty."""
    from IPython.display import display

    line: Any = display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

    def draw(words: str, share: float, seconds_left: float | None) -> None:
        bar = ("█" * int(BAR_WIDTH * share)).ljust(BAR_WIDTH, "░")
        line.update({"text/plain": f"{words} {bar} {time_left(seconds_left)}"}, raw=True)

    try:
        yield draw
    finally:
        line.update({"text/plain": ""}, raw=True)


def _forward(draw: Draw) -> ShowRun:
    """Draw now and then how far it is, by a bar that never goes back, although more replicates may be needed."""
    furthest = 0.0
    last = -REDRAW_SECONDS

    def forward(step: RunProgress) -> None:
        nonlocal furthest, last
        furthest = max(furthest, _share(step) if step.replicate else 0.0)
        if step.stage or time.monotonic() - last >= REDRAW_SECONDS:
            draw(_stage(step, first="warming up"), furthest, step.seconds_left)
            last = time.monotonic()

    return forward


def _lines(console: Console, words: str) -> ShowRun:
    """Print a line when a replicate begins, and at each quarter of what is counted."""
    stages = set[tuple[str, int]]()

    def show(step: RunProgress) -> None:
        quarter = int(4 * _share(step)) if step.is_counting else 0
        now = words or _stage(step)
        is_early = bool(step.replicate) and step.seconds_left is None and not step.is_counting
        if (now, quarter) in stages or quarter == 4 or is_early:
            return
        stages.add((now, quarter))
        noun = "group" if step.replicate else "case"
        noun = "count" if step.is_counting else noun
        done = f"{step.visits_done} of {step.visits}" if quarter else plural(step.visits, noun)
        console.print(", ".join(filter(None, [f"{now}: {done}", time_left(step.seconds_left), so_far(step)])))

    return show


def _share(step: RunProgress) -> float:
    return step.visits_done / max(1, step.visits)


def _stage(step: RunProgress, first: str = "checking parity") -> str:
    """Return what is done; `first`: before the first replicate."""
    if step.stage:
        return step.stage
    if step.is_counting:
        return "counting instructions"
    if step.replicate:
        return f"replicate {step.replicate}"
    return first


def so_far(step: RunProgress) -> str:
    """Return the ratios so far in words; empty if there are none."""
    if not step.ratios:
        return ""
    low = f"{min(step.ratios):.3g}×"
    high = f"{max(step.ratios):.3g}×"
    return f"ratio so far {low}" if len(step.ratios) == 1 else f"ratios so far {low} to {high}"


def time_left(seconds: float | None) -> str:
    """Return the time left in words; empty if it is not known."""
    return "" if seconds is None or not math.isfinite(seconds) else f"about {rounded_up(seconds)} left"

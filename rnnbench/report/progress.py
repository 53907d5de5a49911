"""How far a run is, on standard error: a bar on a terminal, a line for each replicate elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from rnnbench.measure.runner import Progress as RunProgress


@contextmanager
def shown_progress() -> Iterator[Callable[[RunProgress], None]]:
    """A function to call with every step of a run; what it shows is gone from a terminal at the end."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
    # Drawn only when something happened: a thread that redraws would take time from the cores that are measured.
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("starting the first worker", total=None, left="")
        bar.refresh()

        def show(step: RunProgress) -> None:
            bar.update(
                task,
                description=_stage(step),
                completed=step.visits_done,
                total=step.visits,
                left=_left(step),
                refresh=True,
            )

        yield show


def _lines(console: Console) -> Callable[[RunProgress], None]:
    shown = -1

    def show(step: RunProgress) -> None:
        nonlocal shown
        if step.replicate == 0 > shown:
            shown = 0
            console.print(f"{_stage(step)}: {step.visits} cases")
        elif step.replicate > shown and step.seconds_left is not None:
            shown = step.replicate
            console.print(f"replicate {step.replicate}: {step.visits} groups, {_left(step)}")

    return show


def _stage(step: RunProgress) -> str:
    return f"replicate {step.replicate}" if step.replicate else "checking parity, counting"


def _left(step: RunProgress) -> str:
    if step.seconds_left is None:
        return ""
    minutes, seconds = divmod(round(step.seconds_left), 60)
    return f"about {minutes} min {seconds:02d} s left" if minutes else f"about {seconds} s left"

"""Progress of a run's jobs on standard error: a bar on a terminal, a line for each change elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from rnnbench.report.screen.progress import bar
from rnnbench.slurm.sweep import OnProgress


@contextmanager
def shown_jobs() -> Iterator[OnProgress]:
    """Yield a function that shows the progress of jobs; on a terminal, its bar disappears at the end."""
    console, last = Console(stderr=True), ""

    def show_line(words: str, done: int, jobs: int) -> None:
        nonlocal last
        if words != last:
            console.print(words, soft_wrap=True, highlight=False, markup=False)
        last = words

    if not console.is_terminal:
        yield show_line
        return
    with bar(console, "submitting", auto_refresh=True) as draw:
        yield lambda words, done, jobs: draw(words, done, jobs, None)

"""Progress of a run's jobs on standard error: a bar on a terminal, a line for each change elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from rnnbench.report.screen.progress import bar
from rnnbench.slurm.sweep import JobsProgress, OnProgress
from rnnbench.text import plural


@contextmanager
def shown_jobs() -> Iterator[OnProgress]:
    """Yield a function that shows the progress of jobs; on a terminal, its bar disappears at the end."""
    console, last = Console(stderr=True), ""

    def show_lines(step: JobsProgress) -> None:
        nonlocal last
        if sentence(step) != last:
            last = sentence(step)
            console.print(last, soft_wrap=True, highlight=False, markup=False)

    if not console.is_terminal:
        yield show_lines
        return
    with bar(console, "submitting", auto_refresh=True) as draw:
        yield lambda step: draw(sentence(step), step.done, step.jobs, None)


def sentence(step: JobsProgress) -> str:
    """Return the number of jobs in each state, and what keeps them waiting."""
    waiting = step.jobs - step.done - step.running
    counts = {"running": step.running, "waiting": waiting, "lost": step.lost}
    parts = [f"{count:,} {word}" for word, count in counts.items() if count]
    words = ", ".join([f"{step.done:,} of {plural(step.jobs, 'job')} done", *parts])
    return f"{words}; {step.trouble}" if step.trouble else words

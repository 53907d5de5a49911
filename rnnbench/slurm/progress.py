"""Progress of a run's jobs on standard error: a bar on a terminal, a line for each change elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from rnnbench.report.screen.progress import bar, time_left
from rnnbench.slurm.watch import JobsProgress
from rnnbench.text import plural

ShowJobs = Callable[[JobsProgress], None]


@contextmanager
def shown_jobs() -> Iterator[ShowJobs]:
    """Yield a function that shows the progress of jobs; on a terminal, its bar disappears at the end."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lines(lambda line: console.print(line, soft_wrap=True, highlight=False, markup=False))
        return
    with bar(console, "submitting", auto_refresh=True) as draw:
        yield lambda step: draw(sentence(step), step.cases_done, step.cases, step.seconds_left)


def lines(write: Callable[[str], None]) -> ShowJobs:
    """A function that writes a line when a job starts, ends or is lost, or the reason for waiting changes."""
    shown = ""

    def show(step: JobsProgress) -> None:
        nonlocal shown
        text = sentence(step)
        if text != shown:
            shown = text
            write(", ".join(filter(None, [text, time_left(step.seconds_left)])))

    return show


def sentence(step: JobsProgress) -> str:
    """The number of jobs in each state, and what keeps them waiting."""
    counts = {"running": step.running, "waiting": step.waiting, "lost": step.lost}
    parts = [
        f"{step.done:,} of {plural(step.jobs, 'job')} done",
        *(f"{count:,} {word}" for word, count in counts.items() if count),
    ]
    return ", ".join(parts) + (f"; {step.trouble}" if step.trouble else "")

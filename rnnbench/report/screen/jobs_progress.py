"""How far the jobs of a run are, on standard error: a bar on a terminal, a line for each change elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from rnnbench.harness.slurm.progress import JobsProgress
from rnnbench.report.screen.progress import bar, time_left

ShowJobs = Callable[[JobsProgress], None]


@contextmanager
def shown_jobs() -> Iterator[ShowJobs]:
    """A function to call with every look at the jobs; what it shows is gone from a terminal at the end."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lines(lambda line: console.print(line, soft_wrap=True, highlight=False, markup=False))
        return
    with bar(console, "submitting", auto_refresh=True) as draw:
        yield lambda step: draw(sentence(step), step.cases_done, step.cases, step.seconds_left)


def lines(write: Callable[[str], None]) -> ShowJobs:
    """Writes a line whenever a job is done, starts or is lost, or something else keeps them waiting."""
    shown = ""

    def show(step: JobsProgress) -> None:
        nonlocal shown
        said = sentence(step)
        if said != shown:
            shown = said
            write(", ".join(filter(None, [said, time_left(step.seconds_left)])))

    return show


def sentence(step: JobsProgress) -> str:
    """Jobs by what they are at, and what is in the way."""
    counts = {"running": step.running, "waiting": step.waiting, "lost": step.lost}
    parts = [f"{step.done} of {step.jobs} jobs done", *(f"{count} {word}" for word, count in counts.items() if count)]
    return ", ".join(parts) + (f"; {step.trouble}" if step.trouble else "")

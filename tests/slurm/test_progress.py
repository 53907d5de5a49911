import io
from dataclasses import replace

import pytest
from rich.console import Console

from rnnbench.slurm import progress as jobs_progress
from rnnbench.slurm.progress import lines, sentence, shown_jobs
from rnnbench.slurm.watch import JobsProgress

STEP = JobsProgress(12, 3, 4, 5, 0, 200, 61.5, 200.0, "")


def test_what_jobs_are_at_is_one_sentence() -> None:
    assert sentence(STEP) == "3 of 12 jobs done, 4 running, 5 waiting"
    troubled = replace(STEP, running=0, lost=2, trouble="squeue: no answer")
    assert sentence(troubled) == "3 of 12 jobs done, 5 waiting, 2 lost; squeue: no answer"


def test_a_line_is_written_when_something_has_changed_and_not_when_only_time_has() -> None:
    written: list[str] = []
    show = lines(written.append)
    show(STEP)
    show(replace(STEP, seconds_left=150.0))
    show(replace(STEP, done=4, running=3, seconds_left=None))
    assert written == [
        "3 of 12 jobs done, 4 running, 5 waiting, about 3 min 20 s left",
        "4 of 12 jobs done, 3 running, 5 waiting",
    ]


def test_a_terminal_shows_a_bar_with_the_words_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, color_system=None, width=120)
    monkeypatch.setattr(jobs_progress, "Console", lambda stderr: terminal)
    with shown_jobs() as show:
        show(replace(STEP, trouble="squeue: [red]no"))
    assert "4 running, 5 waiting; squeue: [red]no ━━" in written.getvalue()
    assert "about 3 min 20 s left" in written.getvalue()

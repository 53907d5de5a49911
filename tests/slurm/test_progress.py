import io
from dataclasses import replace

import pytest
from rich.console import Console

from rnnbench.slurm import progress
from rnnbench.slurm.progress import sentence, shown_jobs
from rnnbench.slurm.sweep import JobsProgress

STEP = JobsProgress(12, 3, 4, 0, "")


def test_what_jobs_are_at_is_one_sentence() -> None:
    assert sentence(STEP) == "3 of 12 jobs done, 4 running, 5 waiting"
    troubled = replace(STEP, running=0, lost=2, trouble="squeue: no answer")
    assert sentence(troubled) == "3 of 12 jobs done, 9 waiting, 2 lost; squeue: no answer"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_or_a_line_for_each_change_has_the_words_as_they_are(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=is_terminal, color_system=None, width=120)
    monkeypatch.setattr(progress, "Console", lambda stderr: console)
    with shown_jobs() as show:
        for step in (STEP, STEP, replace(STEP, trouble="squeue: [red]no")):
            show(step)
    words = "3 of 12 jobs done, 4 running, 5 waiting"
    if is_terminal:
        assert f"{words}; squeue: [red]no ━━" in written.getvalue()
    else:
        assert written.getvalue().splitlines() == [words, f"{words}; squeue: [red]no"]

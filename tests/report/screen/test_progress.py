import pytest

from rnnbench.harness.turns.progress import Progress
from rnnbench.report.screen.progress import shown_progress


def test_without_a_terminal_counting_says_at_each_quarter_how_long_it_still_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with shown_progress() as show:
        for done in range(9):
            show(Progress(4, done, 8, (8.0 - done) if done else None, is_counting=True))
    assert capsys.readouterr().err.splitlines() == [
        "counting instructions: 8 counts",
        "counting instructions: 2 of 8, about 10 s left",
        "counting instructions: 4 of 8, about 10 s left",
        "counting instructions: 6 of 8, about 10 s left",
    ]

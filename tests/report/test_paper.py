"""A result in Python as files for a paper."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rnnbench.errors import UserError
from rnnbench.report import ratios
from rnnbench.report.call_parts import breakdowns
from rnnbench.report.frame_result import FrameResult
from rnnbench.report.notebook import VISIBLE_COLUMNS
from rnnbench.report.why import waterfall
from tests.profiling.profiles import cause, profile
from tests.report.test_figures import is_within, letters, overlaps
from tests.report.test_notebook import FACTS, measured, point
from tests.report.test_notebook import result as swept_result
from tests.report.test_why import gap

ENVIRONMENT = pd.DataFrame(
    {"what": ["processor", "torch"], "value": ["AuthenticAMD family 25 model 17; avx2, fma", "2.13.0"]}
)


def result(*names: str) -> FrameResult:
    frame = measured(*names).frame
    frames = {"frame": frame, "rounds": lambda: pytest.fail("made"), "environment": ENVIRONMENT}
    return FrameResult(frames, partial(ratios.measured, frame), "A note.", VISIBLE_COLUMNS, **FACTS)


def test_the_table_has_times_ratios_and_one_interval_and_says_what_was_measured_where() -> None:
    lines = result("torch", "loop").to_latex().splitlines()
    assert r"module & time & ratio & 95\% interval \\" in lines
    assert r"torch & 1.36 ms & 1.00$\times$ & --- \\" in lines
    assert r"loop & 6.23 ms & 4.58$\times$ & 4.51--4.66 \\" in lines
    assert lines[0] == r"\begin{table}"  # it fits a column
    assert (
        r"\caption{Time per call, and its ratio to that of torch. Training on cpu, 2 threads, torch 2.13.0, "
        r"AuthenticAMD family 25 model 17. Outputs agree.}"
    ) in lines


def test_outputs_that_differ_have_a_column_without_advice() -> None:
    text = result("torch", "fused", "once").to_latex()
    assert r"0.490--0.520 & differs by 1.4e+00 of the maximum \\" in text
    assert r"2.00$\times$ & --- & agrees \\" in text
    assert "use rnnbench" not in text


def test_a_folder_has_the_frames_the_figure_the_table_and_the_note(tmp_path: Path) -> None:
    found = result("torch", "loop")
    folder = found.save(tmp_path / "gru", width=3.35)
    files = {file.name for file in folder.iterdir()}
    kept = {"frame.csv", "environment.csv", "figure.pdf", "figure.png", "table.tex", "note.txt"}
    assert files == {*kept, ".rnnbench-report"}  # nothing is made for it that takes long
    assert pd.read_csv(folder / "frame.csv")["module"].tolist() == ["torch", "loop"]
    assert (folder / "table.tex").read_text() == found.to_latex()
    assert found.save(folder) == folder
    (tmp_path / "mine").write_text("")
    with pytest.raises(UserError, match="is not empty and was not made by rnnbench"):
        found.save(tmp_path)


@pytest.mark.parametrize("kind", ["measure", "sweep", "explain", "explain one"])
def test_the_figure_of_every_live_result_fits_a_column(kind: str) -> None:
    calls = {f"some_module_{number}": profile(1e-4 * number, case=str(number)) for number in (1, 2, 3)}
    figures: dict[str, Callable[[], Any]] = {
        "measure": lambda: measured("torch", "loop", "fused", loop="a_module_with_a_long_name").plot(width=3.35),
        "sweep": lambda: swept_result(*(point(1e-3 * batch, batch=batch) for batch in (1, 2, 8, 64))).plot(width=3.35),
        "explain": lambda: breakdowns(calls, width=3.35),
        "explain one": lambda: waterfall(
            gap(causes=(cause(),)), "a_module_with_a_long_name", "torch.nn.LSTM", width=3.35
        ),
    }
    figure = figures[kind]()
    texts = letters(figure)
    assert figure.get_figwidth() == 3.35
    assert min(float(text.get_fontsize()) for text in texts) >= 7
    assert not [text.get_text() for text in texts if not is_within(text, figure)]
    assert overlaps(texts, figure) == []

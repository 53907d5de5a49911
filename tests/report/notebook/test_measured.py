"""How a frame of `rnnbench.measure` prints and draws itself."""

import math
from typing import Any

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rnnbench.harness.turns.needed import TimeNeeded
from rnnbench.report.colors import FASTER, INKS, SLOWER
from rnnbench.report.notebook.measured import Measured, note
from rnnbench.suite_file import Settings

AGREES = "agrees"
DIFFERS = "differs by 3.1e-01 of the largest value: times only"
ROWS = {
    "torch": (1.36e-3, 1.0, 1.0, 1.0, "is the reference", 99_328),
    "loop": (6.23e-3, 4.58, 4.51, 4.66, AGREES, 99_328),
    "fused": (0.7e-3, 0.51, 0.49, 0.52, DIFFERS, pd.NA),
    "same": (1.35e-3, 0.998, 0.98, 1.01, AGREES, 99_328),
    "once": (2.7e-3, 2.0, math.nan, math.nan, AGREES, 99_328),
}
FACTS: dict[Any, Any] = {"phase": "training", "reference": "torch", "device": "cpu", "threads": 2, "torch": "2.13.0"}


def measured(*names: str, **renamed: str) -> Measured:
    rows: dict[Any, dict[str, Any]] = {}
    for name in names or ROWS:
        seconds, ratio, low, high, parity, parameters = ROWS[name]
        rows[renamed.get(name, name)] = {
            **{"seconds": seconds, "seconds_low": 0.99 * seconds, "seconds_high": 1.01 * seconds},
            **{"ratio": ratio, "ratio_low": low, "ratio_high": high},
            **{"mean_seconds": 1.1 * seconds, "replicates": 6, "parity": parity, "parameters": parameters},
        }
    frame = pd.DataFrame.from_dict(rows, orient="index").astype({"parameters": "Int64"})
    frame.attrs = dict(FACTS)
    return Measured(frame, pd.DataFrame(), pd.DataFrame(), "torch", "training", "cpu", 2, "A <note>.")


def texts(figure: Figure) -> list[str]:
    axes = figure.axes[0]
    labels = [*axes.get_yticklabels(), *axes.get_xticklabels(), axes.xaxis.label, *axes.texts]
    return [axes.get_title(loc="left"), *(label.get_text() for label in labels)]


def test_it_prints_with_units_and_ends_with_its_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = repr(measured()).splitlines()
    loop = next(line for line in lines if line.startswith("loop"))
    assert " ".join(loop.split()) == "loop 6.23 ms 6.17 ms 6.29 ms 4.58× 4.51× 4.66× 6.85 ms 6 agrees 99,328"
    assert next(line for line in lines if line.startswith("fused")).endswith("—")
    assert lines[-1] == "A <note>."
    assert str(measured()) == repr(measured())
    monkeypatch.setenv("COLUMNS", "80")
    assert all(len(line) <= 80 for line in repr(measured("torch", "loop")).splitlines())


def test_a_notebook_shows_the_same_as_a_table() -> None:
    page = measured(loop="<b>loop")._repr_html_()
    assert page.startswith("<table")
    assert "4.58×" in page
    assert "A &lt;note&gt;." in page
    assert "<b>" not in page


def test_its_frame_is_a_plain_one_and_what_only_a_frame_has_is_said_to_be_there() -> None:
    result = measured()
    assert type(result.frame) is pd.DataFrame
    assert result.frame["ratio"]["loop"] == 4.58
    with pytest.raises(AttributeError, match=r"is not a DataFrame, but holds some: use \.frame\.sort_values"):
        result.sort_values("ratio")
    with pytest.raises(TypeError, match=r"use \.frame\['ratio'\]"):
        result["ratio"]
    with pytest.raises(AttributeError, match="Measured has no attribute 'rato'"):
        getattr(result, "rato")  # noqa: B009
    assert {"frame", "rounds", "environment", "plot", "note"} <= set(dir(result))


def test_the_figure_says_each_ratio_its_interval_and_its_time() -> None:
    shown = texts(measured().plot())
    assert {"4.58× [4.51, 4.66]", "6.23 ms", "0.510× [0.490, 0.520]", DIFFERS, "2.00×", "reference"} <= set(shown)
    assert {"torch", "loop", "fused", "same", "Time per call: training on cpu, 2 threads"} <= set(shown)


def test_colours_say_slower_faster_or_neither_and_a_hollow_mark_says_times_only() -> None:
    lines = measured().plot().axes[0].lines
    marks = {float(line.get_ydata()[0]): line for line in lines if line.get_marker() in ("o", "d")}
    colours = [marks[row].get_color() for row in range(5)]
    assert colours == [shade.light for shade in (INKS["ink"], SLOWER, FASTER, INKS["soft"], INKS["soft"])]
    assert [row for row in range(5) if marks[row].get_markerfacecolor() == INKS["card"].light] == [2]


@pytest.mark.parametrize(
    "frame",
    [
        measured("torch", "loop"),
        measured("torch", "same"),
        measured("torch", "once"),
        measured(),
        measured(loop="a name that is far longer than it should be, " * 3, same="x$\\frac$<b>\n\x00"),
    ],
    ids=["slower", "alike", "once", "all", "names"],
)
def test_nothing_is_cut_off_at_the_figures_edges(frame: Measured) -> None:
    figure = frame.plot()
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    for text in (*axes.texts, *axes.get_yticklabels(), axes.title, axes.xaxis.label):
        box = text.get_window_extent()
        assert box.width == 0 or (box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1)


def test_ratios_near_one_do_not_fill_the_axis() -> None:
    low, high = measured("torch", "same").plot().axes[0].get_xlim()
    assert high / low > 1.1


def test_a_notebook_shows_the_figure_without_any_set_up() -> None:
    figure: Any = measured().plot()
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_the_note_says_which_ratios_are_wider_than_asked_and_why() -> None:
    frame = measured().frame
    settings = Settings(precision=0.018, budget_seconds=30.0, replicates=6)
    assert "Wider than ±1.8% after 6 rounds: fused, once." in note(frame, settings, cut=False)
    assert "(the budget of 30.0 s had no room for more): fused, once." in note(frame, settings, cut=True)
    assert "Wider" not in note(frame[:2], settings, cut=False)
    assert "6 of 8 rounds: the budget" in note(frame[:2], Settings(budget_seconds=1.0, replicates=8), cut=True)
    assert "process" in note(frame, Settings(precision=None), cut=False)
    needed = TimeNeeded(14.0, is_least=False)
    told = note(frame, settings, cut=True, needed=needed)
    assert "had no room for more; about 20 s more would be enough for the target): fused, once." in told


def test_the_note_says_that_one_round_has_no_interval() -> None:
    frame = measured().frame.assign(replicates=1, ratio_low=float("nan"), ratio_high=float("nan"))
    needed = TimeNeeded(14.0, is_least=True)
    assert note(frame, Settings(budget_seconds=1.0), cut=True, needed=needed) == (
        "From one round: no interval. 1 of 6 rounds: the budget of 1.00 s had no room for more; at least 20 s more is "
        "needed for the target."
    )


def test_the_note_says_when_calls_were_held_up() -> None:
    frame = measured().frame
    assert "held up" not in note(frame, Settings(), cut=False)
    assert "a mean is 2.20× the time shown" in note(frame.assign(seconds=frame["seconds"] / 2), Settings(), cut=False)

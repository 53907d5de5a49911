"""How the results of live modules print and draw themselves, and the answers, from times that the test makes up."""

import math
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.rounds import Question
from rnnbench.analysis.summary import TURN_COLUMNS
from rnnbench.harness.live.measuring import LiveComparison, Sizes
from rnnbench.report import ratios
from rnnbench.report.drawing.marks import FASTER, INKS, SLOWER
from rnnbench.report.frame_result import MAX_PRINTED_ROWS, FrameResult
from rnnbench.report.notebook import VISIBLE_COLUMNS, note, of_states, sentence, swept, unequal_outputs
from rnnbench.store import parity as parities
from rnnbench.store.parity import IS_REFERENCE, Parity
from rnnbench.suite.file import Settings
from tests.doubles.stored import steady

AGREES = "agrees"
DIFFERS = "differs by 1.4e+00 of the maximum: times only; use rnnbench.same_weights"
ROWS = {
    "torch": (1.36e-3, 1.0, 1.0, 1.0, "is the reference", 99_328),
    "loop": (6.23e-3, 4.58, 4.51, 4.66, AGREES, 99_328),
    "fused": (0.7e-3, 0.51, 0.49, 0.52, DIFFERS, pd.NA),
    "same": (1.35e-3, 0.998, 0.98, 1.01, AGREES, 99_328),
    "once": (2.7e-3, 2.0, math.nan, math.nan, AGREES, 99_328),
}
FACTS: dict[Any, Any] = {"phase": "training", "reference": "torch", "device": "cpu", "threads": 2, "torch": "2.13.0"}


def measured(*names: str, **renamed: str) -> FrameResult:
    rows: dict[Any, dict[str, Any]] = {}
    for name in names or ROWS:
        seconds, ratio, low, high, parity, parameters = ROWS[name]
        rows[renamed.get(name, name)] = {
            **{"seconds": seconds, "seconds_low": 0.99 * seconds, "seconds_high": 1.01 * seconds},
            **{"ratio": ratio, "ratio_low": low, "ratio_high": high, "state": ""},
            **{"mean_seconds": 1.1 * seconds, "replicates": 6, "parity": parity, "parameters": parameters},
        }
    frame = pd.DataFrame.from_dict(rows, orient="index").astype({"parameters": "Int64"}).rename_axis("module")
    frame.attrs = dict(FACTS)
    frames = {"frame": frame, "replicates": pd.DataFrame(), "environment": pd.DataFrame()}
    draw = partial(ratios.measured, frame)
    return FrameResult(
        frames, draw, "A <note>.", VISIBLE_COLUMNS, sentence="A <sentence>.", is_pictured=True, axes=(), **FACTS
    )


def texts(figure: Figure) -> list[str]:
    labels = [label for axes in figure.axes for label in (*axes.get_yticklabels(), *axes.get_xticklabels())]
    return [figure.axes[0].get_title(loc="left"), *(label.get_text() for label in labels)]


def test_it_prints_its_sentence_then_rows_with_units_and_its_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = repr(measured()).splitlines()
    loop = next(line for line in lines if line.startswith("loop"))
    assert lines[0] == "A <sentence>."
    assert " ".join(lines[2].split()) == "time ratio 95% interval parity"
    assert " ".join(loop.split()) == "loop 6.23 ms 4.58× 4.51–4.66 agrees"
    assert "—" in next(line for line in lines if line.startswith("once"))
    assert lines[-1] == "A <note>."
    monkeypatch.setenv("COLUMNS", "80")
    assert all(len(line) <= 80 for line in repr(measured("torch", "loop")).splitlines())


def test_of_many_rows_the_first_and_last_are_shown_and_all_counted() -> None:
    one = measured().frame
    frame = pd.concat([one] * 10, ignore_index=True)
    result = FrameResult({"frame": frame}, print, "Note.", VISIBLE_COLUMNS)
    shown = pd.concat([frame[: MAX_PRINTED_ROWS // 2], frame[-MAX_PRINTED_ROWS // 2 :]])
    for text in (repr(result), result._repr_html_()):
        assert f"50 rows {'x' if text == repr(result) else '×'} 4 columns" in text
        assert text.count("agrees") == shown["parity"].eq("agrees").sum()


def test_a_notebook_shows_the_answer_a_small_figure_and_the_rows_in_this_order() -> None:
    page = measured(loop="<i>loop")._repr_html_()
    parts = ["A &lt;sentence&gt;.", '<img alt=""', "<table", "4.58×", "A &lt;note&gt;."]
    assert [page.index(part) for part in parts] == sorted(page.index(part) for part in parts)
    assert "<i>" not in page
    nothing = FrameResult({"frame": pd.DataFrame()}, lambda **how: None, sentence="Nothing.", is_pictured=True)
    assert nothing._repr_html_() == "<p><b>Nothing.</b></p>"


def test_its_frame_is_a_plain_one_and_what_only_a_frame_has_is_said_to_be_there() -> None:
    result = measured()
    assert type(result.frame) is pd.DataFrame
    assert result.frame["ratio"]["loop"] == 4.58
    with pytest.raises(AttributeError, match=r"no frame but holds some: use \.frame\.sort_values"):
        result.sort_values("ratio")
    with pytest.raises(TypeError, match=r"use \.frame\['ratio'\]"):
        result["ratio"]
    with pytest.raises(AttributeError, match="FrameResult has no attribute 'rato'"):
        getattr(result, "rato")  # noqa: B009
    assert {"frame", "replicates", "environment", "plot", "note", "threads"} <= set(dir(result))
    assert list(result.frames) == ["frame", "replicates", "environment"]


def test_the_figure_says_each_ratio_and_its_colour_whether_it_is_slower_a_hollow_mark_is_times_only() -> None:
    figure = measured().plot()
    shown = texts(figure)
    assert {"4.58× [4.51, 4.66]   6.23 ms", "0.510× [0.490, 0.520]   700 µs   times only"} <= set(shown)
    assert {"torch", "loop", "reference   1.36 ms", "training on cpu, 2 threads"} <= set(shown)
    lines = figure.axes[0].lines
    marks = {float(y): line for line in lines if line.get_marker() in ("o", "d") for y in line.get_ydata()}
    colours = [marks[row].get_color() for row in range(5)]
    assert colours == [shade.light for shade in (INKS["ink"], SLOWER, FASTER, INKS["soft"], INKS["soft"])]
    assert [row for row in range(5) if marks[row].get_markerfacecolor() == INKS["card"].light] == [2]


def live(*, needed: float = 0.0, cut: bool = False, interrupted: bool = False) -> Any:
    return SimpleNamespace(turns=SimpleNamespace(cut=cut, interrupted=interrupted), needed=needed)


WANTED = Settings(precision=0.018, budget_seconds=30.0, replicates=6)


@pytest.mark.parametrize(
    ("changes", "settings", "told"),
    [
        ({}, WANTED, "Wider than ±1.8% after 6 replicates: fused, once."),
        ({"cut": True}, WANTED, "(the budget of 30.0 s had no room for more): fused, once."),
        ({"cut": True, "needed": 14.0}, WANTED, "had no room for more; give budget='50s'): fused, once."),
        ({"cut": True}, Settings(precision=None, budget_seconds=1.0, replicates=8), "6 of 8 replicates: the budget of"),
        ({}, Settings(precision=None), "the 1% by which processes usually differ"),
        ({"interrupted": True}, WANTED, "Interrupted after 6 replicates."),
    ],
)
def test_the_note_says_which_ratios_are_wider_than_asked_and_why(
    changes: dict[str, Any], settings: Settings, told: str
) -> None:
    text = note(live(**changes), measured().frame, settings)
    assert told in text
    assert "held up" not in text


def test_the_note_says_that_one_round_has_no_interval_and_when_calls_were_held_up() -> None:
    frame = measured().frame.assign(replicates=1, ratio_low=float("nan"), ratio_high=float("nan"))
    assert note(live(cut=True), frame, Settings(budget_seconds=1.0)) == (
        "From one replicate: no interval. 1 of 6 replicates: the budget of 1.00 s had no room for more."
    )
    frame = measured().frame
    assert "a mean is 2.20× the time shown" in note(live(), frame.assign(seconds=frame["seconds"] / 2), Settings())


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (["", "", ""], ""),
        (["undisturbed", "undisturbed", ""], "Ratios are undisturbed: of moments when the core was quiet."),
        (["on a shared core"] * 3, "All of it was measured on a shared core, which another hyperthread used too often"),
        (["undisturbed", "on a shared core", "undisturbed"], "b was measured on a shared core, which"),
        (["on a shared core", "undisturbed", "on a shared core"], "The others are undisturbed."),
    ],
)
def test_the_note_says_whether_ratios_are_those_of_a_quiet_core(states: list[str], told: str) -> None:
    frame = pd.DataFrame({"state": states}, index=list("abc")).rename_axis("module")
    assert told in of_states(frame)
    assert bool(told) == bool(of_states(frame))
    assert of_states(frame.reset_index()) == of_states(frame)  # of a sweep, whose modules are a column


# A sweep

NAMES = ("mine", "torch")


def point(seconds: float, *notes: str, threads: int | None = 1, **sizes: Any) -> tuple[Sizes, LiveComparison]:
    turns: Any = SimpleNamespace(
        times={name: [steady(seconds), steady(1.5 * seconds)] for name in NAMES},
        cut=True,
        interrupted=False,
        card_turns=pd.DataFrame(columns=TURN_COLUMNS),
    )
    parity = {"mine": parities.AGREES, "torch": IS_REFERENCE}
    found = LiveComparison({}, {}, turns, "torch", parity, "inference", "cpu", 1, list(notes), ExitStack())
    return {**sizes, "phase": "inference", "threads": threads}, found


def result(*points: tuple[Sizes, LiveComparison]) -> FrameResult:
    axes: dict[str, Any] = {name: [sizes[name] for sizes, _ in points] for name in points[0][0]}
    return swept(points, NAMES, Settings(replicates=2, precision=0.01), axes | {"phase": [0], "threads": [0]})


def test_what_is_said_of_a_later_combination_is_not_lost() -> None:
    later = point(2e-3, "Outputs could not be compared again.", batch=2)
    note = result(point(1e-3, batch=1), later, point(3e-3, "One is coarse.", batch=3)).note
    assert note.endswith(". Outputs could not be compared again. One is coarse.")
    assert result(later).note.count("Outputs could not be compared again.") == 1


def test_the_threads_that_torch_chooses_are_told_apart_from_others() -> None:
    made = result(*(point(1e-3, batch=batch, threads=threads) for batch in (1, 2, 4) for threads in (1, None)))
    assert "threads" in repr(made)
    [panel] = made.plot().axes
    assert [line[0].get_xdata().tolist() for line in panel.containers] == [[1, 2, 4]]
    assert panel.get_xlabel() == "batch\n(threads 1)"


def test_a_size_of_zero_has_a_place_on_the_figure() -> None:
    [panel] = result(*(point(1e-3, dropout=share) for share in (0.0, 0.25, 0.5))).plot().axes
    assert panel.get_xscale() == "linear"
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0", "0.25", "0.5"]


# `assert_not_slower`


def told(
    answer: str | None = "slower",
    *,
    factor: float = 1.2,
    low: Estimate = Estimate(1.38, 1.31, 1.4567),  # noqa: B008
    mean: Estimate = Estimate(1.45, 1.19, 1.6),  # noqa: B008
    precision: float | None = None,
    rounds: int = 12,
    parity: str = "agrees",
    threads: int = 1,
    notes: tuple[str, ...] = (),
    must_agree: bool = True,
    state: str = "",
) -> str:
    """Return what is said about 12 rounds of 1.4 seconds."""
    question = Question(factor, precision, answer, low, mean, within=(low, mean))  # type: ignore[arg-type]
    times = {name: [steady(seconds)] * rounds for name, seconds in (("mine", 31.2e-6), ("than", 22.6e-6))}
    turns = SimpleNamespace(times=times, calls_made=2582 if rounds else 0, seconds=1.4)
    where = {"phase": "training", "device": "cpu", "threads": threads}
    found: Any = SimpleNamespace(turns=turns, parity={"mine": Parity.read(parity)}, notes=notes, **where)
    if must_agree and parity != "agrees":
        return unequal_outputs(found, ("MyLSTM", "LSTM"))
    question.state = state
    return sentence(found, question, 10.0, ("MyLSTM", "LSTM"))


ANSWERS: dict[str, dict[str, Any]] = {
    "slower": {},
    "not slower": {"answer": "not slower", "factor": 1.5},
    "slower in the mean": {
        "low": Estimate(1.01, 0.99, 1.03),
        "mean": Estimate(1.4, 1.3, 1.5),
    },
    "the budget is spent": {"answer": None},
    "the budget is spent with two threads": {"answer": None, "threads": 2},
    "known as precisely as asked and undecided": {"answer": None, "precision": 0.5},
    "one round has no interval": {"answer": None, "rounds": 1, "low": Estimate(1.3, math.nan, math.nan)},
    "outputs that differ where they may not": {"answer": None, "rounds": 0, "parity": DIFFERS},
    "outputs that may differ": {"parity": DIFFERS, "must_agree": False},
    "outputs that differ after timing": {"parity": f"after timing: {DIFFERS}"},
    "on a shared core": {"state": "on a shared core"},
    "unequal work": {"notes": ("cuDNN's layers may use TF32.",)},
    "a large ratio needs no third decimal": {"low": Estimate(123.4, 120.0, 130.0)},
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_answer_says_how_much_slower_and_what_it_rests_on(kind: str, snapshot: SnapshotAssertion) -> None:
    assert told(**ANSWERS[kind]) == snapshot

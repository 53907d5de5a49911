"""Words, figures and tables that say why a cell is slower, for made-up runs."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.summary import noise, summarize
from rnnbench.profiling.breakdown import OVERHEADS, breakdown, breakdown_frame, in_one_piece, rescaled
from rnnbench.profiling.gap import KINDS, NOT_PROFILED, OPERATOR, Gap, Step, between, call_time, of_profiled, take_apart
from rnnbench.report import call_parts, why
from rnnbench.report.drawing.pictures import Picture
from rnnbench.report.page.page import files as files_of
from rnnbench.report.reports import run_page
from rnnbench.report.table import Table
from rnnbench.report.words.units import MISSING, TIME_UNITS
from rnnbench.store.folder import read_info
from rnnbench.store.implementations import LADDER
from rnnbench.store.profiles import Category, Cause, CauseKind, Operator, Products, Profile
from tests.doubles import workload as small
from tests.doubles.stored import folder
from tests.profiling.profiles import cause, profile

MICRO = 1e-6


def rung(seconds: float) -> dict[int, float]:
    return {replicate: seconds * (1 + replicate / 1000) for replicate in range(3)}


def gap(*, causes: tuple[Cause, ...] = (), compiled: bool = True, split: bool = False) -> Gap:
    rungs = {"loop": rung(100 * MICRO), "hoisted": rung(70 * MICRO)} | (
        {"compiled": rung(30 * MICRO)} if compiled else {}
    )
    below = between(profile(70 * MICRO), profile(20 * MICRO, 10 * MICRO, 5 * MICRO)) if split else ()
    return take_apart(rungs, rung(20 * MICRO), causes, below)


def library(seconds: float) -> Gap:
    what, other = "the same matmuls take 2.20× as long in MKL as in oneDNN", "oneDNN"
    step = Step("library", what, Estimate(seconds, 0.9 * seconds, 1.1 * seconds), 32, other)
    return take_apart({"loop": rung(70 * MICRO)}, rung(20 * MICRO), below=(step,))


GAPS = {
    "each rung explains a part": gap(),
    "the reference's products are in a faster library": library(30 * MICRO),
    "its own products are in a faster library": library(-3 * MICRO),
    "an operator that the reference does not have": take_apart(
        {"loop": rung(100 * MICRO)},
        rung(20 * MICRO),
        below=(Step(OPERATOR, "layer norm", Estimate(29 * MICRO, 28 * MICRO, 30 * MICRO), 64),),
    ),
    "the profile is of a busier moment": replace(gap(), note=f"compiled was {NOT_PROFILED}"),
    "a breakdown that reaches both ends leaves nothing unexplained": gap(compiled=False, split=True),
    "a step may be nothing": take_apart(
        {"loop": rung(100 * MICRO)},
        rung(20 * MICRO),
        below=(Step("overhead", "", Estimate(60 * MICRO, -10 * MICRO, 130 * MICRO)),),
    ),
    "no slower": take_apart({"loop": rung(10 * MICRO)}, rung(20 * MICRO)),
    "a rung is slower": take_apart({"loop": rung(50 * MICRO), "hoisted": rung(60 * MICRO)}, rung(20 * MICRO)),
    "a rung is ahead of the reference": take_apart(
        {"loop": rung(50 * MICRO), "compiled": rung(10 * MICRO)}, rung(20 * MICRO)
    ),
    "one replicate": take_apart({"loop": {0: 5.0}, "hoisted": {0: 3.0}}, {0: 1.0}),
    # In the second replicate the machine is slower: the ratio is known well, the difference in seconds is not.
    "slower by the ratio alone": take_apart({"loop": {0: 4e-4, 1: 10.1e-4}}, {0: 2e-4, 1: 5e-4}),
}


@pytest.mark.parametrize("kind", GAPS)
def test_the_words_say_how_far_what_explains_it_and_what_is_left(kind: str, snapshot: SnapshotAssertion) -> None:
    assert why.words(GAPS[kind], "mine", "torch.nn.LSTM") == snapshot


@pytest.mark.parametrize("kind", [kind for kind in get_args(CauseKind) if kind != "not hoisted"])
def test_a_cause_is_named_with_its_place_its_size_and_what_would_close_it(
    kind: CauseKind, snapshot: SnapshotAssertion
) -> None:
    assert why.words(gap(causes=(cause(kind, 3 * MICRO),), compiled=False), "mine", "torch.nn.LSTM") == snapshot


def test_what_the_call_is_made_of_is_told(snapshot: SnapshotAssertion) -> None:
    profiles = {
        "plain": profile(),
        "nearly all is products": profile(50 * MICRO, 51 * MICRO, 1 * MICRO),
        "kernels take longer than the call": profile(50 * MICRO, 150 * MICRO, 10 * MICRO),
    }
    assert {kind: why.words(gap(), "mine", "torch", of) for kind, of in profiles.items()} == snapshot


def test_every_cause_has_words_and_a_cure_and_every_rung_has_words() -> None:
    assert {kind for kind, words in KINDS.items() if words.cure} == {*get_args(CauseKind), "library"}
    assert set(LADDER[1:]) <= KINDS.keys()


def test_kernels_of_a_gpu_that_were_not_seen_are_missing_with_the_reason_wherever_they_would_be_shown(
    tmp_path: Path,
) -> None:
    reason = "torch's profiler saw no kernel of this call"
    blind = replace(profile(), opaque=reason)
    assert f"The time of its call can't be split: {reason}." in why.words(gap(), "mine", "torch.nn.GRU", blind)
    assert not between(blind, profile())
    assert [row[2] for row in call_parts.breakdown_table({"mine": blind}, {"mine": "mine"}).rows] == ["in one piece"]
    operators = call_parts.operators_table(blind, "mine")
    assert operators is not None
    assert {row[6] for row in operators.rows} == {MISSING}
    assert "queues kernels and does not wait for them" in operators.note
    case, reference = small.case("gru", phase="inference"), small.reference_case("gru", phase="inference")
    path = folder(tmp_path, {case: [[1e-4]] * 3, reference: [[2e-5]] * 3})
    profiles = {subject.key: replace(blind, case=subject.key) for subject in (case, reference)}
    [section] = why.sections(read_run_times(path), profiles)
    assert reason in section.of(str)[0]


def test_the_waterfall_goes_from_the_first_rung_to_the_reference() -> None:
    rungs = {"loop": rung(1e-4), "compiled": rung(5e-5)}
    figure = why.waterfall(take_apart(rungs, rung(2e-5), (cause(),)), "gru loop", "torch.nn.GRU")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert (names[0], names[-2:]) == ("gru loop", ["unexplained", "torch.nn.GRU"])
    texts = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert (texts[0], texts[-1]) == ("100 µs", "20.0 µs")
    assert any(text.endswith("% of the gap") for text in texts)
    widths = [bar.get_width() for bar in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert widths[0] - sum(widths[1:-1]) == pytest.approx(widths[-1])


def test_a_last_rung_that_is_faster_than_the_reference_is_ahead_and_not_unexplained() -> None:
    ahead = take_apart({"loop": rung(5e-5), "compiled": rung(1e-5)}, rung(2e-5))
    names = [label.get_text() for label in why.waterfall(ahead, "gru loop", "torch.nn.GRU").axes[0].get_yticklabels()]
    assert any("ahead of the" in name for name in names)
    assert "unexplained" not in names


@pytest.fixture
def run(tmp_path: Path) -> Path:
    loop, hoisted, reference = small.case("gru"), small.case("gru", "hoisted"), small.reference_case("gru")
    return folder(tmp_path, {loop: [[1e-4], [1e-4]], hoisted: [[7e-5], [7e-5]], reference: [[2e-5], [2e-5]]})


def test_a_run_gives_a_section_for_each_cell_and_all_of_it_as_files(run: Path, tmp_path: Path) -> None:
    loop, hoisted, reference = small.case("gru"), small.case("gru", "hoisted"), small.reference_case("gru")
    mine = Profile(**{**profile(case=loop.key).__dict__, "files": {"trace": "t.json.gz"}})
    failed = Profile(hoisted.key, "failed", "under the profiler: ValueError: no")
    profiles = {loop.key: mine, hoisted.key: failed, reference.key: profile(2e-5, 1e-5, 0.0)}
    (section,) = why.sections(read_run_times(run), profiles)
    assert section.title == "gru in inference"
    assert section.of(str)[0].startswith("gru loop takes 5.00×")
    assert [picture.name for picture in section.of(Picture)] == ["01-gru-waterfall", "01-gru-breakdown"]
    assert [table.name for table in section.of(Table)] == ["01-gru-breakdown", "01-gru-operators"]
    assert "Not profiled: gru hoisted: under the profiler: ValueError: no." in section.of(Picture)[0].caption
    assert section.of(str)[1].endswith(". gru loop: t.json.gz.")
    times = read_run_times(run)
    files = files_of(run_page(summarize(times), noise(times), read_info(run), profiled=[section]))
    page = files["index.html"].decode()
    assert {"figures/01-gru-waterfall.svg", "tables/01-gru-operators.csv"} <= files.keys()
    assert page.index('<section id="why"') < page.index('<section id="cases"')
    assert "gru loop takes 5.00×" in page


@pytest.mark.parametrize("profiled", [[], [small.case("gru").key]])
def test_a_run_without_profiles_that_worked_still_has_its_ladder(run: Path, profiled: list[str]) -> None:
    (section,) = why.sections(read_run_times(run), {case: Profile(case, "failed", "why") for case in profiled})
    assert [picture.name for picture in section.of(Picture)] == ["01-gru-waterfall"]
    assert not section.of(Table)


UNITS = {unit: size for size, unit in TIME_UNITS}
ROUNDS = 4
SECONDS = st.floats(1e-7, 1e-2)


def rounds(level: float) -> st.SearchStrategy[tuple[float, ...]]:
    """Times that scatter as on a busy machine: up to half as long again."""
    return st.lists(st.floats(level, 1.5 * level), min_size=ROUNDS, max_size=ROUNDS).map(tuple)


@st.composite
def stored(draw: Any) -> Profile:
    """A stored profile: kernels that may take longer than the call, parts in any order, causes and products."""
    call = draw(SECONDS)
    times = {"call": draw(rounds(call))}
    if draw(st.booleans()):
        times["forward"] = draw(rounds(draw(st.floats(0.2, 1.1)) * call))
        if draw(st.booleans()):
            times["forward_backward"] = draw(rounds(draw(st.floats(0.5, 1.1)) * call))
    kinds: tuple[Category, ...] = ("products", "pointwise", "copies", "views")
    operators = tuple(
        Operator(
            f"aten::{number}",
            "",
            kinds[number],
            draw(st.sampled_from(("forward", "backward"))) if "forward" in times else "forward",
            draw(st.integers(1, 500)),
            seconds=draw(rounds(draw(st.floats(0.01, 0.6)) * call)),
            idle_seconds=draw(rounds(draw(st.floats(0.01, 0.3)) * call)),
        )
        for number in range(draw(st.integers(0, 4)))
    )
    causes = (Cause("copy", "clone (mine.py:7)", 16, draw(rounds(draw(st.floats(0.01, 0.5)) * call))),)
    products = Products("MKL", 16, {"MKL": draw(rounds(call / 3)), "oneDNN": draw(rounds(call / 4))})
    return Profile(
        "mine",
        steps=draw(st.integers(1, 64)),
        times=times,
        operators=operators,
        causes=causes if draw(st.booleans()) else (),
        products=products if draw(st.booleans()) else None,
    )


def seconds(text: str) -> float:
    number, unit = text.split(" ")
    return float(number.replace(",", "")) * UNITS[unit]


@given(stored())
def test_the_shares_of_a_call_are_its_parts_and_none_is_negative(mine: Profile) -> None:
    shares = breakdown(mine)
    call = call_time(mine.times["call"]).value
    scaled = breakdown(rescaled(mine, call))
    assert sum(share.seconds.value for share in scaled) == pytest.approx(call)
    assert min(share.seconds.value for share in (*shares, *scaled)) >= 0
    assert breakdown_frame({"": mine})["share"].sum() == pytest.approx(1.0)


@given(stored(), stored(), st.lists(st.tuples(SECONDS, SECONDS, SECONDS), min_size=2, max_size=12))
def test_the_words_agree_with_each_other(mine: Profile, other: Profile, times: list[tuple[float, ...]]) -> None:
    loop, hoisted, reference = ({number: row[index] for number, row in enumerate(times)} for index in range(3))
    for rungs in ({"loop": loop}, {"loop": loop, "hoisted": hoisted}):
        gap = of_profiled(rungs, reference, [mine, *[None] * (len(rungs) - 1)], replace(other, case="torch"))
        assert gap.start.value - gap.end.value == pytest.approx(gap.seconds.value, abs=1e-15)
        assert sum(step.seconds.value for step in gap.by_size) == pytest.approx(gap.seconds.value, abs=1e-12)
        base = rescaled(mine, gap.start.value)
        _agree(gap, base, why.words(gap, "mine", "torch.nn.LSTM", base))


def _agree(gap: Gap, base: Profile, words: str) -> None:
    """The figures of the sentences, read back from them."""
    assert not re.search(r"(?<![\w)])[-\N{MINUS SIGN}]\d[\d.,]* (?:ns|µs|ms|s)\b", words)
    start, end = map(seconds, re.findall(r": (\S+ \S+) against (\S+ \S+?)\.(?: |$)", words)[0])
    for gone in re.findall(r"Of the (\S+ \S+) between them", words):
        assert seconds(gone) == pytest.approx(start - end, abs=0.01 * max(start, end))
    for share, number, each in re.findall(
        r"(\d+)% of its call is \S+ and \S+ \((\S+) operators?(?: a step)?, (\S+ \S+) ", words
    ):
        per_step = sum(operator.calls for operator in base.operators) / base.steps
        assert float(number.replace(",", "")) == pytest.approx(per_step, rel=0.01)
        if each.startswith("<"):
            continue  # less than can be written
        spent = seconds(each) * float(number.replace(",", "")) * base.steps
        assert spent / start == pytest.approx(int(share) / 100, abs=0.02)
        assert not in_one_piece(base)
        overhead = sum(share.seconds.value for share in breakdown(base) if share.what in OVERHEADS)
        assert overhead == pytest.approx(spent, rel=0.03)

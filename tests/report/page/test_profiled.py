"""Words, figures, tables and flame graphs that say why a cell is slower, for made-up runs."""

import posixpath
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import get_args

import pytest
from matplotlib.collections import LineCollection
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.gaps.between import Libraries, Step, between
from rnnbench.analysis.gaps.gap import HOISTING, UNLIKE, Gap, take_apart
from rnnbench.analysis.runs.noise import noise
from rnnbench.analysis.runs.run_times import read
from rnnbench.analysis.runs.summary import summarize
from rnnbench.report.figures import figure_breakdown, figure_memory, figure_waterfall, flame
from rnnbench.report.figures.drawing.canvas import svg
from rnnbench.report.figures.drawing.marks import of_cell
from rnnbench.report.page import profiled
from rnnbench.report.page import run_folder as report
from rnnbench.report.tables import table_breakdown, table_operators
from rnnbench.report.words import why
from rnnbench.report.words.units import MISSING
from rnnbench.store.folder import read_info
from rnnbench.store.profiles import CATEGORIES, Cause, CauseKind, Kernels, Products, Profile
from tests.analysis.profiles import cause, profile
from tests.doubles import workload as small
from tests.doubles.stored import folder

MICRO = 1e-6
EVIL = "<script>alert(1)</script>"


def rung(seconds: float) -> dict[int, float]:
    return {replicate: seconds * (1 + replicate / 1000) for replicate in range(3)}


def gap(*, causes: tuple[Cause, ...] = (), compiled: bool = True, split: bool = False) -> Gap:
    rungs = {"loop": rung(100 * MICRO), "hoisted": rung(70 * MICRO)} | (
        {"compiled": rung(30 * MICRO)} if compiled else {}
    )
    below = between(profile(70 * MICRO), profile(20 * MICRO, 10 * MICRO, 5 * MICRO)) if split else ()
    return take_apart(rungs, rung(20 * MICRO), causes, below)


def library(seconds: float) -> Gap:
    libraries = Libraries("MKL", "oneDNN with packed weights", 2.2)
    step = Step("library", "", Estimate(seconds, 0.9 * seconds, 1.1 * seconds), calls=32, libraries=libraries)
    return take_apart({"loop": rung(70 * MICRO)}, rung(20 * MICRO), below=(step,))


def besides(seconds: float) -> Gap:
    step = Step("besides", "", Estimate(seconds, seconds, seconds))
    return take_apart({"compiled": rung(30 * MICRO)}, rung(20 * MICRO), below=(step,))


GAPS = {
    "each rung explains a part": gap(),
    "the reference's products are in a faster library": library(30 * MICRO),
    "its own products are in a faster library": library(-3 * MICRO),
    "compiled code takes longer outside of its products": besides(8 * MICRO),
    "compiled code takes less outside of its products": besides(-8 * MICRO),
    "the profile is of a busier moment": replace(gap(), note=UNLIKE),
    "a breakdown that reaches both ends leaves nothing unexplained": gap(compiled=False, split=True),
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


@pytest.mark.parametrize("kind", [kind for kind in get_args(CauseKind) if kind not in HOISTING])
def test_a_cause_is_named_with_its_place_its_size_and_what_would_close_it(
    kind: CauseKind, snapshot: SnapshotAssertion
) -> None:
    assert why.words(gap(causes=(cause(kind, 3 * MICRO),), compiled=False), "mine", "torch.nn.LSTM") == snapshot


def test_what_the_call_is_made_of_is_told_with_the_library_that_would_be_faster(snapshot: SnapshotAssertion) -> None:
    seconds: dict[str, tuple[float, ...]] = {"MKL": (30 * MICRO,) * 3, "oneDNN": (12 * MICRO,) * 3}
    profiles = {
        "plain": profile(),
        "nearly all is products": profile(50 * MICRO, 51 * MICRO, 1 * MICRO),
        "kernels take longer than the call": profile(50 * MICRO, 150 * MICRO, 10 * MICRO),
        "another library is faster": replace(profile(), products=Products("MKL", 16, seconds)),
        "its library is the fastest": replace(profile(), products=Products("oneDNN", 16, seconds)),
    }
    assert {kind: why.words(gap(), "mine", "torch", of) for kind, of in profiles.items()} == snapshot


def test_every_step_has_a_name_and_every_cause_a_cure() -> None:
    assert set(get_args(CauseKind)) | {"library"} == set(why.CURES)
    assert set(why.CURES) <= set(why.LABELS)


def test_one_replicate_has_a_waterfall() -> None:
    assert figure_waterfall.render(GAPS["one replicate"], "mine", "torch")


def test_kernels_that_take_longer_than_the_call_are_not_taken_apart() -> None:
    busy = profile(50 * MICRO, 150 * MICRO, 10 * MICRO)
    assert not between(busy, profile())
    nearly = texts(figure_breakdown.render({"mine": profile(50 * MICRO, 51 * MICRO, 1 * MICRO)}))
    assert "50.0 µs" in nearly
    assert "52.0 µs" not in nearly


def test_kernels_of_a_gpu_that_were_not_seen_are_missing_with_the_reason_wherever_they_would_be_shown(
    tmp_path: Path,
) -> None:
    reason = "torch's profiler saw no kernel of this call"
    blind = replace(profile(), no_kernels=reason)
    assert f"Its call can't be taken apart: {reason}." in why.words(gap(), "mine", "torch.nn.GRU", blind)
    assert not between(blind, profile())
    assert not between(profile(), blind)
    assert reason in table_breakdown.counts({"mine": blind}).rows[0][-1]
    assert [row[2] for row in table_breakdown.render({"mine": blind}).rows] == ["in one piece"]
    operators = table_operators.render(blind, "mine")
    assert operators is not None
    assert {row[6] for row in operators.rows} == {MISSING}
    assert "queues kernels and does not wait for them" in operators.note
    case, reference = small.case("gru", phase="inference"), small.reference_case("gru", phase="inference")
    path = folder(tmp_path, {case: [[1e-4]] * 3, reference: [[2e-5]] * 3})
    profiles = {subject.key: replace(blind, case=subject.key) for subject in (case, reference)}
    [section] = profiled.sections(read(path), profiles, path)
    assert reason in section.pictures[0].caption


def test_times_of_operators_on_a_gpu_are_the_hosts_and_none_is_a_kernels() -> None:
    seen = replace(profile(), kernels=Kernels(40, {"products": 25e-6}))
    operators = table_operators.render(seen, "mine")
    assert {row[6] for row in operators.rows} == {MISSING}
    assert "The GPU itself times its kernels" in table_breakdown.render({"mine": seen}).note


def texts(figure: object) -> str:
    """All texts of a figure, one per line."""
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))  # type: ignore[attr-defined]


def test_the_waterfall_goes_from_the_first_rung_to_the_reference() -> None:
    figure = figure_waterfall.render(gap(causes=(cause(),), split=False), "gru loop", "torch.nn.GRU")
    text = texts(figure)
    for words in (
        "gru loop",
        "torch.nn.GRU",
        "compiled",
        "unexplained",
        "(mine.py:7)",
        f"{why.MINUS}30.0 µs\n38% of the gap",
    ):
        assert words in text
    heights = [patch.get_window_extent().height for patch in figure.axes[0].patches]
    assert heights[0] - sum(heights[1:-1]) == pytest.approx(heights[-1])
    assert svg(figure, "w") == svg(figure_waterfall.render(gap(causes=(cause(),)), "gru loop", "torch.nn.GRU"), "w")


def test_a_last_rung_that_is_faster_than_the_reference_is_ahead_and_not_unexplained() -> None:
    ahead = take_apart({"loop": rung(50 * MICRO), "compiled": rung(10 * MICRO)}, rung(20 * MICRO))
    text = texts(figure_waterfall.render(ahead, "gru loop", "torch.nn.GRU"))
    assert "ahead of the" in text
    assert "unexplained" not in text


def test_breakdowns_stand_below_each_other_and_failed_ones_are_left_out() -> None:
    figure = figure_breakdown.render({"mine": profile(), EVIL: profile(), "bad": Profile("bad", "failed", "why")})
    assert figure is not None
    text = texts(figure)
    assert "60%" in text
    assert EVIL in text
    assert "bad" not in text
    assert EVIL not in svg(figure, "b")
    assert figure_breakdown.render({"bad": Profile("bad", "failed", "why")}) is None


def test_the_memory_of_a_call_is_a_line_with_its_peak() -> None:
    figure = figure_memory.render(profile())
    assert figure is not None
    assert "512 B at most" in texts(figure)
    assert figure_memory.render(Profile("mine")) is None


def test_the_memory_of_a_cell_stands_beside_that_of_its_reference_on_one_scale() -> None:
    larger = replace(profile(), memory=((0.0, 0), (1e-4, 4096), (2e-4, 0)))
    figure = figure_memory.render({"gru loop": profile(), "torch.nn.GRU": larger}, "gru")
    assert figure is not None
    cell, reference = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["gru loop", "torch.nn.GRU"]
    assert cell.get_ylim() == reference.get_ylim()
    assert cell.get_xlim() != reference.get_xlim()
    assert {"512 B at most", "4.10 kB at most"} <= set(texts(figure).splitlines())
    colors = [axes.lines[0].get_color() for axes in figure.axes]
    assert colors == [of_cell("gru").light, "#000000"]
    alone = figure_memory.render({"gru loop": profile(), "torch.nn.GRU": Profile("seen", memory=())}, "gru")
    assert len(alone.axes) == 1


def test_the_call_of_a_breakdown_has_its_interval_and_names_its_parts() -> None:
    noisy = replace(
        profile(backward=40 * MICRO), times={**profile(backward=40 * MICRO).times, "call": (9e-5, 1e-4, 11e-5)}
    )
    single = replace(profile(), times={arm: seconds[:1] for arm, seconds in profile().times.items()})
    single = replace(single, opaque="compiled", operators=())
    figure = figure_breakdown.render({"gru loop": noisy, "once": single})
    assert figure is not None
    assert {"forward", "backward"} <= set(texts(figure).splitlines())
    whiskers = [collection for collection in figure.axes[0].collections if isinstance(collection, LineCollection)]
    assert len(whiskers) == 1  # one round has no interval
    ((left, _), (right, _)) = whiskers[0].get_segments()[0]
    assert left < right


def test_operators_are_listed_from_the_hottest() -> None:
    table = table_operators.render(profile(), "mine")
    assert [row[0] for row in table.rows] == ["aten::addmm", "aten::tanh", "aten::t"]
    assert table.frame["kernel_seconds"].tolist() == pytest.approx([30e-6, 10e-6, 0.0])
    assert table_operators.render(profile(opaque="compiled"), "mine") is None


def test_a_breakdown_has_a_colour_for_whatever_a_devices_kernels_are_of() -> None:
    taken = Profile(**{**profile().__dict__, "kernels": Kernels(6, dict.fromkeys(CATEGORIES, 1e-5))})
    assert figure_breakdown.render({"mine": taken}) is not None


# Flame graphs


def test_a_flame_graph_is_an_svg_in_which_names_are_only_text(tmp_path: Path) -> None:
    file = tmp_path / "stacks.txt"
    lines = f"mine.py(1): f;aten::mm 750\nmine.py(1): f 200\n{EVIL} 50\nnot a stack\nsquared ²\nendless {'9' * 5000}\n"
    file.write_bytes(lines.encode() + b"\xff no text\n")
    stacks = flame.read(file)
    assert stacks == {("mine.py(1): f", "aten::mm"): 750, ("mine.py(1): f",): 200, (EVIL,): 50}
    text = flame.render(stacks, EVIL)
    assert text is not None
    assert EVIL not in text
    assert text.count("<script>") == 1  # the file's own
    root = ET.fromstring(text)
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["mine.py(1): f: 950 ns, 95.0%", "aten::mm: 750 ns, 75.0%", f"{EVIL}: 50.0 ns, 5.0%"]
    assert flame.render({}, "nothing") is None


def test_frames_that_can_not_be_seen_are_left_out() -> None:
    text = flame.render({("a", f"deep {number}"): 1 for number in range(2000)} | {("a",): 10}, "mine")
    assert text.count("<g ") == 1


# A whole run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    loop, hoisted, reference = small.case("gru"), small.case("gru", "hoisted"), small.reference_case("gru")
    return folder(tmp_path, {loop: [[1e-4], [1e-4]], hoisted: [[7e-5], [7e-5]], reference: [[2e-5], [2e-5]]})


def test_a_run_gives_a_section_for_each_cell_and_all_of_it_as_files(run: Path, tmp_path: Path) -> None:
    loop, hoisted, reference = small.case("gru"), small.case("gru", "hoisted"), small.reference_case("gru")
    (run / "stacks.txt").write_text("f;aten::mm 10\n")
    mine = Profile(**{**profile(case=loop.key).__dict__, "files": {"stacks": "stacks.txt", "trace": "t.json.gz"}})
    failed = Profile(hoisted.key, "failed", "under the profiler: ValueError: no")
    profiles = {loop.key: mine, hoisted.key: failed, reference.key: profile(2e-5, 1e-5, 0.0)}
    (section,) = profiled.sections(read(run), profiles, run)
    assert (section.cell, section.title) == ("gru", "gru in inference")
    assert section.words.startswith("gru loop takes 5.00×")
    assert [picture.name for picture in section.pictures] == ["01-gru-waterfall", "01-gru-breakdown", "01-gru-memory"]
    assert [table.name for table in section.tables] == ["01-gru-breakdown", "01-gru-profiled", "01-gru-operators"]
    assert any("under the profiler: ValueError: no" in row[-1] for row in section.tables[1].rows)
    assert list(section.flames) == ["flame-gru-loop"]
    assert section.traces == {"gru loop": "t.json.gz"}
    times = read(run)
    files = report.render(summarize(times), noise(times), read_info(run), profiled=[section])
    page = "cells/01/index.html"
    beside = {"figures/01-gru-waterfall.svg", "tables/01-gru-operators.csv", "flames/01-gru-flame-gru-loop.svg"}
    assert {page, *(f"cells/01/{name}" for name in beside)} <= files.keys()
    assert f'<a href="{page}">gru</a>' in files["index.html"].decode()
    for html in ("index.html", page):
        assert "gru loop takes 5.00×" in files[html].decode()
    answer = re.search(r'<p class="answer">(.*?)</p>', files[page].decode(), re.DOTALL)
    assert answer is not None
    assert re.fullmatch(r"gru loop takes 5.00× .* against [^.]*\.[^.]*\.", answer[1].strip()), answer[1]
    for link in re.findall(r'href="([^#:"]+)"', files[page].decode()):
        assert posixpath.normpath(posixpath.join("cells/01", link)) in files, link


@pytest.mark.usefixtures("svg_alone")
@pytest.mark.parametrize("file", ["../elsewhere.txt", "{absolute}", "link.txt", ".", "zero\x00byte", "x" * 3000])
def test_a_record_that_names_a_file_outside_the_run_or_none_has_it_not_read(
    run: Path, tmp_path: Path, file: str
) -> None:
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text("f;aten::mm 10\n")
    (run / "link.txt").symlink_to(elsewhere)
    loop = small.case("gru").key
    mine = Profile(**{**profile(case=loop).__dict__, "files": {"stacks": file.format(absolute=elsewhere)}})
    (section,) = profiled.sections(read(run), {loop: mine}, run)
    assert not section.flames


def test_a_run_without_profiles_still_has_its_ladder(run: Path) -> None:
    (section,) = profiled.sections(read(run), {})
    assert [picture.name for picture in section.pictures] == ["01-gru-waterfall"]
    assert not section.tables


def test_words_of_a_cell_that_is_markup_are_only_text(run: Path) -> None:
    times = read(run)
    section = profiled.ProfiledCell("01", EVIL, EVIL, f"{EVIL} takes 5.00×", f"{EVIL} takes 5.00×", traces={EVIL: EVIL})
    files = report.render(summarize(times), noise(times), read_info(run), profiled=[section])
    for html in ("index.html", "cells/01/index.html"):
        assert EVIL not in files[html].decode()
        assert f"{escape(EVIL)} takes 5.00×" in files[html].decode()

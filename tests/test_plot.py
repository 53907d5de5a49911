"""Every figure of a report from Python, on axes of its own and on the caller's."""

import io
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import combinations
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from syrupy.assertion import SnapshotAssertion

from rnnbench import plot
from rnnbench.report.verdicts.verdicts import of
from rnnbench.suite import suites
from tests.doubles import streams
from tests.doubles.pages import contrast
from tests.doubles.screens import told
from tests.report.conftest import summary_of
from tests.report.verdicts import samples

MIN_LETTERS = 7.0
ONE_PANEL: dict[str, dict[str, Any]] = {
    "scaling": {"along": "hidden_size"},
}


@cache
def _grid() -> pd.DataFrame:
    """LSTMs in inference on one thread, at three sizes of each axis."""
    cases = summary_of(suites.read("cpu").groups({}, None))
    return cases.query("reference == 'lstm' and threads == 1 and phase == 'inference'")


@pytest.fixture
def grid() -> pd.DataFrame:
    return _grid().copy()


@pytest.fixture(scope="module")
def ladder() -> pd.DataFrame:
    """Many implementations in two phases."""
    cases = summary_of(suites.read("ladder").groups({}, None))
    return cases.query("reference == 'lstm' or cell == 'combined'")


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return streams.summary(tmp_path_factory.mktemp("streams"))


@pytest.fixture
def ax() -> Iterator[Axes]:
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    yield axes
    plt.close(figure)


def frame_of(name: str, grid: pd.DataFrame, streamed: pd.DataFrame) -> pd.DataFrame:
    if name == "changes":
        return of(samples.realistic()).frame
    return streamed if name == "latency" else grid


def letters(figure: Figure) -> list[Text]:
    """All texts that are seen; numbers of an axis beyond its ends are not."""
    figure.draw_without_rendering()
    unseen: set[int] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(map(float, axis.get_view_interval()))
            unseen |= {id(tick.label1) for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return [text for text in texts if id(text) not in unseen]


def overlaps(texts: list[Text], figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that lie on one another by more than a point."""
    point = figure.dpi / 72
    boxes = [(text.get_text(), text.get_window_extent().padded(-point)) for text in texts]
    return [(one, other) for (one, box), (other, beside) in combinations(boxes, 2) if box.overlaps(beside)]


def is_within(part: Any, figure: Figure) -> bool:
    """Whether something lies within the figure, to a few points."""
    box, edge, whole = part.get_window_extent(), figure.dpi * 0.06, figure.bbox
    ends = min(box.x0, box.y0) >= -edge and box.x1 <= whole.x1 + edge and box.y1 <= whole.y1 + edge
    return bool(ends)


def frames_of(name: str, grid: pd.DataFrame, ladder: pd.DataFrame, streamed: pd.DataFrame) -> list[pd.DataFrame]:
    return [frame_of(name, grid, streamed), *([] if name in ("latency", "changes") else [ladder])]


@pytest.mark.parametrize("width", [3.35, 7])
@pytest.mark.parametrize("name", plot.__all__)
def test_at_the_widths_of_papers_letters_are_legible_and_nothing_overlaps(
    name: str, width: float, grid: pd.DataFrame, ladder: pd.DataFrame, streamed: pd.DataFrame
) -> None:
    for frame in frames_of(name, grid, ladder, streamed):
        figure = getattr(plot, name)(frame, width=width)
        texts = letters(figure)  # pytest turns the warning of a layout without room into an error
        assert figure.get_figwidth() == width
        if width < 5:
            assert figure.get_figheight() <= 4
        assert min(float(text.get_fontsize()) for text in texts) >= MIN_LETTERS
        assert not [text.get_text() for text in texts if not is_within(text, figure)]
        assert overlaps(texts, figure) == []


@pytest.mark.parametrize("layout", ["constrained", None])
@pytest.mark.parametrize("name", plot.__all__)
def test_on_small_axes_of_the_caller_nothing_overlaps(
    name: str, layout: Any, grid: pd.DataFrame, ladder: pd.DataFrame, streamed: pd.DataFrame
) -> None:
    for frame in frames_of(name, grid, ladder[ladder["phase"] == "training"], streamed):
        figure, axes = plt.subplots(figsize=(3.35, 2.6), layout=layout)
        getattr(plot, name)(frame, axes, **ONE_PANEL.get(name, {}))
        texts = letters(figure)
        assert min(float(text.get_fontsize()) for text in texts) >= MIN_LETTERS
        assert overlaps(texts, figure) == []
        plt.close(figure)


@pytest.mark.parametrize(
    ("name", "style"),
    [("ratio", "ggplot"), *((name, "dark_background") for name in plot.__all__)],
)
def test_axes_of_the_caller_are_drawn_on_in_the_callers_style(
    name: str, style: str, grid: pd.DataFrame, streamed: pd.DataFrame
) -> None:
    with plt.style.context(style):
        figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
        frame = frame_of(name, grid, streamed)
        before = axes.get_facecolor()
        assert getattr(plot, name)(frame, axes, **ONE_PANEL.get(name, {})) is axes
        assert axes.has_data() or axes.collections
        assert axes.get_title(loc="left") == ""
        assert axes.get_facecolor() == before
        if name != "ratio_by_size":  # whose numbers are on coloured boxes; ticks and labels are the style's
            paper = to_hex(axes.get_facecolor())
            own = [text for text in letters(figure) if text.axes is not None and text in text.axes.texts]
            assert all(contrast(to_hex(text.get_color()), paper) >= 4.4 for text in own)
        plt.close(figure)


def test_one_axes_cannot_hold_several_panels_and_the_message_says_what_to_select(
    ax: Axes, snapshot: SnapshotAssertion
) -> None:
    quick = summary_of(suites.read("quick").groups({}, None))
    one = quick[(quick["phase"] == "inference") & (quick["reference"] == "rnn") & (quick["num_layers"] == 1)]
    names = ("ratio", "ratio_by_size", "scaling")
    messages = {name: told(partial(getattr(plot, name), quick, ax)) for name in names}
    messages["scaling of one panel"] = told(lambda: plot.scaling(one, ax))
    assert messages == snapshot
    assert not ax.has_data()
    assert plot.ratio(quick[quick["phase"] == "inference"], ax) is ax


def test_wrong_arguments_are_named(ax: Axes, grid: pd.DataFrame, snapshot: SnapshotAssertion) -> None:
    wide = pd.concat([grid.assign(hidden_size=grid["hidden_size"] + more) for more in range(12)])
    calls: dict[str, Callable[[], object]] = {
        "a list": lambda: plot.ratio([]),  # type: ignore[arg-type]
        "a frame without ratios": lambda: plot.ratio(grid.drop(columns="ratio")),
        "several axes": lambda: plot.ratio(grid, np.array([ax, ax])),
        "a width that is too small": lambda: plot.ratio(grid, width=1),
        "another value": lambda: plot.scaling(grid, value="time"),  # type: ignore[arg-type]
        "more columns than fit": lambda: plot.ratio_by_size(wide, width=3),
    }
    assert {kind: told(call) for kind, call in calls.items()} == snapshot


def test_a_figure_of_its_own_is_that_of_a_report_in_every_style(grid: pd.DataFrame) -> None:
    plain = saved(plot.ratio(grid, width=3.35, height=2.2), "png")
    with plt.style.context("dark_background"):
        assert saved(plot.ratio(grid, width=3.35, height=2.2), "png") == plain


@pytest.mark.parametrize("name", plot.__all__)
def test_nothing_to_show_is_an_error_that_says_what_is_missing(
    name: str, grid: pd.DataFrame, streamed: pd.DataFrame
) -> None:
    with pytest.raises(ValueError, match=r"^nothing to show: \w"):
        getattr(plot, name)(frame_of(name, grid, streamed).head(0))


def test_rows_may_have_any_index_and_the_frame_stays_as_it_is(grid: pd.DataFrame) -> None:
    before = grid.copy(deep=True)
    plot.ratio(grid.set_index("case", drop=False))
    plot.scaling(grid.iloc[::-1])
    pd.testing.assert_frame_equal(grid, before)


def saved(figure: Figure, kind: str) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=kind)
    return out.getvalue()


def test_no_note_for_pages_and_no_date_is_left_in_a_file(grid: pd.DataFrame, ax: Axes) -> None:
    assert b"CreationDate" not in saved(plot.ratio(grid), "pdf")
    for figure in (plot.ratio(grid), plot.ratio(grid, ax).figure):
        ids = re.findall(r'\bid="([^"]+)"', saved(figure, "svg").decode())
        assert not [name for name in ids if name.startswith("cases")]
        assert len(set(ids)) == len(ids)

"""The figure of `rnnbench.fastest`."""

import pytest
from torch import nn

from rnnbench.adapt.kinds import RunModule
from rnnbench.report.notebook.live import FastestModule
from rnnbench.speedup.module import CallShape, TimedWay
from rnnbench.speedup.ways import WayName
from tests.report.figures.test_runs import legend


def module(*ratios: float) -> FastestModule:
    """A module with two shapes, whose ways take these times as long as the module as given."""
    names: tuple[WayName, ...] = ("as given", "hoisted", "compiled", "prepacked")
    timed = []
    for batch in (1, 32):
        shape = CallShape(16, batch, 64, batch > 1, "float32", "cpu", 1)
        for name, ratio in zip(names, (1.0, *ratios), strict=False):
            is_chosen = ratio == min(1.0, *ratios)
            timed.append(TimedWay(shape, name, 1e-3 * ratio, ratio, ratio * 0.9, ratio * 1.1, 4, is_chosen=is_chosen))
    layer = nn.GRU(64, 256)
    return FastestModule(RunModule(layer, "layer", ((1, 256),)), timed)


@pytest.mark.parametrize(
    ("ratios", "chosen"),
    [((0.9, 0.5, 0.4), "prepacked 0.400× [0.360, 0.440]"), ((1.2, 1.5), "as given")],
)
def test_the_way_of_each_shape_stands_beside_its_row(ratios: tuple[float, ...], chosen: str) -> None:
    figure = module(*ratios).plot()
    axes, beside = figure.axes
    texts = [label.get_text() for label in beside.get_yticklabels()]
    assert [text.partition("   ")[0].strip() for text in texts] == [chosen] * 2
    assert [label.get_text() for label in axes.get_yticklabels()] == ["batch 1, length 16", "batch 32, length 16"]
    assert axes.get_title(loc="left") == "GRU(64, 256): inference and training on cpu, 1 thread"
    assert legend(figure) == [*["hoisted", "compiled", "prepacked"][: len(ratios)], "filled: chosen"]


def test_ways_that_were_given_have_no_figure() -> None:
    shape = CallShape(16, 1, 64, False, "float32", "cpu", 1)
    layer = nn.GRU(64, 256)
    run = RunModule(layer, "layer", ((1, 256),))
    with pytest.raises(ValueError, match="nothing was timed, so there is nothing to draw"):
        FastestModule(run, [TimedWay(shape, "compiled", is_chosen=True)]).plot()

"""Figure: from a cell's time down to that of its reference, with a bar for each step that explains part of the gap."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.gaps.between import Step
from rnnbench.analysis.gaps.gap import Gap
from rnnbench.report import colors
from rnnbench.report.figures.canvas import look, short
from rnnbench.report.figures.drawing.marks import of_cell
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.units import duration, duration_tick
from rnnbench.report.words.why import MINUS, label, share_text

EDGE, REST = colors.INKS["soft"].light, colors.INKS["line"].light
GAIN, LOSS = colors.FASTER.light, colors.SLOWER.light  # what a change saves, and what it costs
WIDTH = 0.62
MAX_LETTERS = 16  # of a line below a bar


def render(gap: Gap, name: str, reference_name: str) -> Figure:
    """The figure. `name` and `reference_name` stand below the first and the last bar."""
    steps = [*gap.steps, gap.rest]
    with look():
        figure = Figure(figsize=(1.6 + 1.25 * (len(steps) + 2), 3.6), layout="constrained")
        axes = figure.subplots()
        _whole(axes, 0, gap.start, _shade_of(gap).light)
        level = gap.start.value
        for x, step in enumerate(steps, start=1):
            level = _step(axes, x, step, level)
        _whole(axes, len(steps) + 1, gap.end, colors.INKS["ink"].light)
        first, last = (_wrapped(short(one_line(bar_name), 2 * MAX_LETTERS)) for bar_name in (name, reference_name))
        names = [first, *map(_named, steps), last]
        axes.set_xticks(range(len(names)), names, fontsize=8)
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("time per call")
        axes.set_ylim(bottom=0, top=_top(gap) * 1.16)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration_tick(round(seconds, 12))))
        axes.grid(axis="y")
    return figure


def _shade_of(gap: Gap) -> colors.Shade:
    """The colour of the gap's cell; that of a live module, which is no cell of a suite, is grey."""
    return of_cell(str(gap.axes["cell"])) if "cell" in gap.axes else colors.INKS["soft"]


def _whole(axes: Axes, x: int, time: Estimate, color: str) -> None:
    axes.bar(x, time.value, WIDTH, color=color, alpha=0.6)
    _whisker(axes, x, time.value, time)
    _write(axes, x, max(time.value, _finite(time.upper, time.value)), duration(time.value))


def _step(axes: Axes, x: int, step: Step, level: float) -> float:
    """Draw what a step takes off the level, and return the new level."""
    after = level - step.seconds.value
    color = REST if step.kind == "rest" else GAIN if step.seconds.value >= 0 else LOSS
    axes.plot([x - 1 + WIDTH / 2, x + WIDTH / 2], [level, level], color=EDGE, linewidth=0.8)
    axes.bar(x, step.seconds.value, WIDTH, bottom=after, color=color, hatch="" if step.is_certain else "////")
    axes.plot([x - WIDTH / 2, x + 1 - WIDTH / 2], [after, after], color=EDGE, linewidth=0.8)
    _whisker(axes, x, after, Estimate(after, level - step.seconds.upper, level - step.seconds.lower))
    sign = MINUS if step.seconds.value >= 0 else "+"
    text = f"{sign}{duration(abs(step.seconds.value))}"
    if math.isfinite(step.share.value):
        text += f"\n{share_text(step.share.value)} of the gap"
    highest = max(level, after, _finite(level - step.seconds.lower, level))
    _write(axes, x, highest, text)
    return after


def _whisker(axes: Axes, x: float, value: float, ends: Estimate) -> None:
    if math.isfinite(ends.lower) and math.isfinite(ends.upper):
        reach = [[max(0.0, value - ends.lower)], [max(0.0, ends.upper - value)]]
        axes.errorbar(x, value, yerr=reach, color="black", elinewidth=0.9, capsize=2.5, capthick=0.9)


def _write(axes: Axes, x: int, height: float, text: str) -> None:
    axes.annotate(text, (x, height), (0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=8)


def _named(step: Step) -> str:
    where = step.what[step.what.find("(") :] if "(" in step.what else ""
    return "\n".join(filter(None, [_wrapped(label(step)), _wrapped(one_line(where))]))


def _wrapped(text: str) -> str:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= MAX_LETTERS:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _top(gap: Gap) -> float:
    level, top = gap.start.value, max(gap.start.value, _finite(gap.start.upper, 0.0), gap.end.value)
    for step in (*gap.steps, gap.rest):
        top = max(top, level, _finite(level - step.seconds.lower, level))
        level -= step.seconds.value
    return max(top, level)


def _finite(value: float, other: float) -> float:
    return value if math.isfinite(value) else other

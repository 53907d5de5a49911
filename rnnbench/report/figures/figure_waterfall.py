"""Figure: from a cell's time down to that of its reference, with a bar for each step that explains part of the gap."""

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.gaps.between import Step
from rnnbench.analysis.gaps.gap import Gap
from rnnbench.report import colors
from rnnbench.report.figures.drawing.canvas import short
from rnnbench.report.figures.drawing.ink import Ink
from rnnbench.report.figures.drawing.marks import of_cell
from rnnbench.report.figures.drawing.sheet import Sheet, sheet
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.units import duration, duration_tick
from rnnbench.report.words.why import MINUS, label, share_text

WIDTH = 0.62
MAX_LETTERS, MAX_LINES = 16, 4  # below a bar: of a line, and of what tells where a step is


def render(gap: Gap, name: str, reference_name: str, *, ax: Axes | None = None) -> Figure:
    """The figure. `name` and `reference_name` stand below the first and the last bar."""
    steps = [*gap.steps, gap.rest]
    with sheet(ax, (1.6 + 1.25 * (len(steps) + 2), 3.6)) as drawn:
        axes = drawn.axes
        _whole(drawn, 0, gap.start, _shade_of(gap))
        level = gap.start.value
        for x, step in enumerate(steps, start=1):
            level = _step(drawn, x, step, level)
        _whole(drawn, len(steps) + 1, gap.end, colors.INKS["ink"])
        first, last = (_wrapped(short(one_line(bar_name), 2 * MAX_LETTERS)) for bar_name in (name, reference_name))
        names = [first, *map(_named, steps), last]
        axes.set_xticks(range(len(names)), names, fontsize=drawn.small)
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("time per call")
        axes.set_ylim(bottom=0, top=_top(gap) * 1.16)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: duration_tick(round(seconds, 12))))
        axes.grid(axis="y")
    return drawn.figure


def _shade_of(gap: Gap) -> colors.Shade:
    """The colour of the gap's cell; that of a live module, which is no cell of a suite, is grey."""
    return of_cell(str(gap.axes["cell"])) if "cell" in gap.axes else colors.INKS["soft"]


def _whole(drawn: Sheet, x: int, time: Estimate, shade: colors.Shade) -> None:
    drawn.axes.bar(x, time.value, WIDTH, color=drawn.ink.of(shade), alpha=0.6)
    _whisker(drawn, x, time.value, time)
    _write(drawn, x, max(time.value, _finite(time.upper, time.value)), duration(time.value))


def _step(drawn: Sheet, x: int, step: Step, level: float) -> float:
    """Draw what a step takes off the level, and return the new level."""
    after = level - step.seconds.value
    axes, ink = drawn.axes, drawn.ink
    color = _color(ink, step)
    axes.plot([x - 1 + WIDTH / 2, x + WIDTH / 2], [level, level], color=ink.soft, linewidth=0.8)
    axes.bar(x, step.seconds.value, WIDTH, bottom=after, color=color, hatch="" if step.is_certain else "////")
    axes.plot([x - WIDTH / 2, x + 1 - WIDTH / 2], [after, after], color=ink.soft, linewidth=0.8)
    _whisker(drawn, x, after, Estimate(after, level - step.seconds.upper, level - step.seconds.lower))
    sign = MINUS if step.seconds.value >= 0 else "+"
    text = f"{sign}{duration(abs(step.seconds.value))}"
    if math.isfinite(step.share.value):
        text += f"\n{share_text(step.share.value)} of the gap"
    highest = max(level, after, _finite(level - step.seconds.lower, level))
    _write(drawn, x, highest, text)
    return after


def _color(ink: Ink, step: Step) -> str:
    """The colour of what a change saves, of what it costs, and of what nothing explains."""
    if step.kind == "rest":
        return ink.line
    return ink.of(colors.FASTER if step.seconds.value >= 0 else colors.SLOWER)


def _whisker(drawn: Sheet, x: float, value: float, ends: Estimate) -> None:
    if ends.has_interval:
        reach = [[max(0.0, value - ends.lower)], [max(0.0, ends.upper - value)]]
        drawn.axes.errorbar(x, value, yerr=reach, color=drawn.ink.text, elinewidth=0.9, capsize=2.5, capthick=0.9)


def _write(drawn: Sheet, x: int, height: float, text: str) -> None:
    drawn.axes.annotate(
        text, (x, height), (0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=drawn.small
    )


def _named(step: Step) -> str:
    where = step.what[step.what.find("(") :] if "(" in step.what else ""
    return "\n".join(filter(None, [_wrapped(label(step)), _wrapped(short(one_line(where), MAX_LETTERS * MAX_LINES))]))


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

"""Table: at which size each hand-written series and torch.nn take equally long, along each axis."""

import math
from typing import Any

import pandas as pd

from rnnbench.analysis.scaling.crossing import Crossing, crossing
from rnnbench.analysis.scaling.fit import SERIES, SizeFit, fits
from rnnbench.analysis.scaling.held_out import MIN_VALUES, MOVING, REACH
from rnnbench.report.tables.table import Column, Table, of, table, where_new
from rnnbench.report.words.axes import one_line, say_all, several, word
from rnnbench.report.words.fit_names import named
from rnnbench.report.words.medians import CONTEXT
from rnnbench.report.words.units import round_digits, span

COURSES = {
    "becomes faster": "slower, then faster",
    "becomes slower": "faster, then slower",
    "crosses again": "crosses more than once, first",
}


def render(summary: pd.DataFrame) -> Table | None:
    """One row for each fitted series with a fitted reference, or None if there is none."""
    fitted = fits(summary)
    order = [(fitted.found[number], series) for number, (_, series) in named(summary, fitted).items()]
    pairs = [(fit, series, reference) for fit, series in order if (reference := fitted.reference_of(fit))]
    if not pairs:
        return None
    axes = [axis for axis in MOVING if any(_is_swept(fit, axis) for fit, _, _ in pairs)]
    rows, machine = [], []
    for fit, series, reference in pairs:
        crossings = {axis: crossing(fit, reference, axis) for axis in axes if _is_swept(fit, axis)}
        own = {axis: fit.axes[axis] for axis in SERIES}
        rows.append({"series": series} | own | {f"over {axis}": text(crossings.get(axis)) for axis in axes})
        machine += [own | _numbers(point) for point in crossings.values()]
    held = pairs[0][0].levels
    at = say_all(axes, [held[axis][len(held[axis]) // 2] for axis in axes])
    frame = pd.DataFrame(rows)
    return table(
        "crossings",
        "Where each cell takes as long as torch.nn",
        f"Fitted. Each column varies one size, with the others at their middle values ({at}). Brackets enclose the "
        f"sizes at which the ratio's 95% interval contains 1; ~ marks what the intervals do not settle. Crossings "
        f"outside the measured range are marked as predicted, and lie at most {REACH:g} times beyond it.",
        [
            Column("cell", of("series", one_line)),
            Column("phase", of("phase")),
            *(Column(word(axis), of(axis, one_line)) for axis in several(summary, CONTEXT)),
            *(Column(f"over {word(axis)}", of(f"over {axis}")) for axis in axes),
        ],
        frame,
        machine=pd.DataFrame(machine),
        breaks=where_new(frame["cell"]),
    )


def text(way: Crossing | None) -> str:
    """`slower, then faster: 12 [8, 20]`, `faster, then slower: 2.4 [below 4], predicted`, `~ always slower`."""
    if way is None or way.course == "not known":
        return "not known"
    if math.isnan(way.value):
        return f"always {way.course}" if way.is_sure else f"~ always {way.course}"
    match math.isfinite(way.low), math.isfinite(way.high):
        case True, True:
            interval = span(round_digits(way.low), round_digits(way.high), ", ")
        case True, False:
            interval = f"above {round_digits(way.low)}"
        case False, True:
            interval = f"below {round_digits(way.high)}"
        case _:
            interval = "not settled"
    size = f"{round_digits(way.value)} [{interval}]"
    return f"{COURSES[way.course]}: {size}{'' if way.is_within else ', predicted'}"


def _is_swept(fit: SizeFit, axis: str) -> bool:
    return len(fit.levels[axis]) >= MIN_VALUES


def _numbers(point: Crossing) -> dict[str, Any]:
    return {
        "axis": point.axis,
        **{f"at_{axis}": size for axis, size in point.held.items()},
        "course": point.course,
        "is_sure": point.is_sure,
        "crossing": point.value,
        "crossing_low": point.low,
        "crossing_high": point.high,
        "status": "" if math.isnan(point.value) else "within the measured range" if point.is_within else "predicted",
    }

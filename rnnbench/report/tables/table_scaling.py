"""Table: what each series' time is made of, fitted over its sizes, and how far the fit is off at held-out sizes."""

from typing import Any

import numpy as np
import pandas as pd

from rnnbench.analysis.scaling.fit import SERIES, Fits, SizeFit, fits
from rnnbench.analysis.scaling.held_out import REACH
from rnnbench.analysis.scaling.predict import mostly_spent_on
from rnnbench.analysis.scaling.terms import CAUSES
from rnnbench.report.tables.table import Column, Table, of, table, where_new
from rnnbench.report.words.axes import one_line, several, word
from rnnbench.report.words.fit_names import named
from rnnbench.report.words.medians import CONTEXT
from rnnbench.report.words.units import count, duration, percent_digits, rate, whole_percent

WITHIN = ("point", "inside")


def render(summary: pd.DataFrame) -> Table | None:
    """One row for each fitted series, or None if none can be fitted."""
    fitted = fits(summary)
    if not fitted.found:
        return None
    rows = pd.DataFrame([_row(fitted.found[number], series) for number, (_, series) in named(summary, fitted).items()])
    context = several(summary, CONTEXT)
    columns = [
        Column("cell", of("series", one_line)),
        Column("phase", of("phase")),
        *(Column(word(axis), of(axis, one_line)) for axis in context),
        Column("a call", of("call_seconds", duration), numeric=True),
        Column("a step", of("step_seconds", duration), numeric=True),
        Column("arithmetic", lambda row: rate(row["macs_per_second"], "MAC"), numeric=True),
        Column("mostly spent on, smallest sizes to largest", _spent_on),
        Column("off, median", of("median_error", percent_digits), numeric=True),
        Column("off, at most", of("largest_error", percent_digits), numeric=True),
        Column("points", of("points", count), numeric=True),
        Column("form", of("form")),
    ]
    return table(
        "scaling",
        "What time is made of, fitted over all sizes",
        note(fitted),
        columns,
        rows,
        machine=rows.drop(columns="series"),
        breaks=where_new(rows["cell"]),
    )


def note(found: Fits) -> str:
    """What the columns mean, how good the fits are, and what was not fitted."""
    errors = pd.concat([fit.errors for fit in found.found])
    off = np.expm1(errors["log_error"].abs())
    within = off[errors["place"].isin(WITHIN)]
    beyond = off[~errors["place"].isin(WITHIN)]
    parts = [
        "The fixed costs of a call and of each step, the rate of the matrix products, and what takes most of the "
        "time. The total is better known than its split into arithmetic and memory, which grow alike.",
        "Fits were compared with sizes that were left out of them: off by "
        f"{percent_digits(within.median())} in the median and by {percent_digits(within.quantile(0.9))} or less in "
        "nine of ten, inside the measured range",
        f"({percent_digits(beyond.median())} in the median with the smallest or the largest size left out)."
        if len(beyond)
        else ".",
        f"Nothing is predicted beyond {REACH:g} times that range.",
    ]
    reasons = list(dict.fromkeys(series.reason for series in found.left_out))
    are = "is" if len(found.left_out) == 1 else "are"
    left = [f"{len(found.left_out)} series {are} not fitted: {'; '.join(reasons)}."] if reasons else []
    return " ".join([*parts, *left]).replace(" .", ".")


def _row(fit: SizeFit, series: str) -> dict[str, Any]:
    ordered = fit.sizes.assign(work=fit.work(fit.sizes).macs).sort_values("work")
    ends = ordered.iloc[[0, -1]].reset_index(drop=True)
    causes, work = fit.by_cause(ends), fit.work(ends)
    total = np.sum([causes[cause] for cause in CAUSES], axis=0)
    spent_on = mostly_spent_on(causes)
    shares = [float(causes[cause][index] / total[index]) for index, cause in enumerate(spent_on)]
    arithmetic = float(causes["arithmetic"][-1])
    errors = np.expm1(fit.errors.loc[fit.errors["place"].isin(WITHIN), "log_error"].abs())
    return (
        {"series": series}
        | {axis: fit.axes[axis] for axis in SERIES}
        | {
            "call_seconds": fit.cost("call"),
            "step_seconds": fit.cost("step"),
            "macs_per_second": float(work.macs[-1]) / arithmetic if arithmetic > 0 else np.nan,
            "smallest_spent_on": spent_on[0],
            "smallest_share": shares[0],
            "largest_spent_on": spent_on[1],
            "largest_share": shares[1],
            "median_error": float(errors.median()),
            "largest_error": float(errors.max()),
            "points": len(fit.sizes),
            "form": fit.form,
        }
    )


def _spent_on(row: dict[str, Any]) -> str:
    ends = [f"{row[f'{end}_spent_on']} {whole_percent(row[f'{end}_share'])}" for end in ("smallest", "largest")]
    return " → ".join(ends)

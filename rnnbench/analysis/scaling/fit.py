"""Time fitted over sizes, one fit for each series: non-negative costs of each term, on relative errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from rnnbench.analysis.scaling.counts import StepCounts, counts
from rnnbench.analysis.scaling.held_out import MIN_VALUES, MOVING, Fold, Levels, folds, frame_of, levels
from rnnbench.analysis.scaling.terms import FORMS, Array, TimeCause, Work, by_cause, columns
from rnnbench.store import ceilings
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.records import AXES, ITEM_BYTES, REFERENCES

SERIES = ["run", *(axis for axis in AXES if axis not in MOVING)]  # what the cases of a fit share
PHASES = ("inference", "training", "step")  # whose calls run one batch
MIN_POINTS = 6
NO_TIME = 1e-6  # of the measured time, in place of a fitted time of zero
MIN_AXES = 2  # that have `MIN_VALUES` values or more
TOO_FEW = (
    f"fewer than {MIN_POINTS} sizes were measured, or fewer than {MIN_AXES} of batch, length, input and hidden "
    f"size at {MIN_VALUES} values or more"
)
UNCOUNTED = "its MACs are not known, or follow from more than batch, length, input and hidden size"
ALIKE = 1.05  # times the smallest held-out error; the form with the fewest terms within this is taken


@dataclass(frozen=True)
class SizeFit:
    """How the time of one series grows with its sizes, and the errors at points that were held out."""

    axes: Mapping[str, Any]  # of `SERIES`
    form: str
    coefficients: Array  # seconds for each unit of the form's terms
    sizes: pd.DataFrame  # the measured ones: `MOVING`, `seconds`
    errors: pd.DataFrame  # of held-out points: `MOVING`, `axis`, `place`, `log_error` of the fit over the measured
    tried: Mapping[str, float]  # form -> mean absolute log error of points held out within the measured range
    counts: StepCounts
    ceiling: Ceiling | None

    @property
    def levels(self) -> Levels:
        """The measured values of each size."""
        return levels(self.sizes)

    def work(self, sizes: pd.DataFrame) -> Work:
        """The work of a call at each of `sizes`."""
        return _work(sizes, self.counts.macs(sizes), self.axes, self.ceiling)

    def seconds(self, sizes: pd.DataFrame) -> Array:
        """The fitted time of a call at each of `sizes`; NaN if its arithmetic is not known."""
        fitted: Array = columns(self.form, self.work(sizes)) @ self.coefficients
        return fitted

    def by_cause(self, sizes: pd.DataFrame) -> dict[TimeCause, Array]:
        """The fitted seconds of each cause."""
        return by_cause(self.form, self.coefficients, self.work(sizes))

    def cost(self, term: str) -> float:
        """Seconds for each unit of a term; NaN if the form does not have it."""
        terms = FORMS[self.form]
        return float(self.coefficients[terms.index(term)]) if term in terms else np.nan


@dataclass(frozen=True)
class LeftOut:
    """A series that could not be fitted."""

    axes: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class Fits:
    """The series of one run or several: those that could be fitted, and those that could not."""

    found: tuple[SizeFit, ...]
    left_out: tuple[LeftOut, ...]

    def reference_of(self, fit: SizeFit) -> SizeFit | None:
        """The torch.nn layer's fit of the same workloads; None for the layer itself."""
        own = {"cell", "implementation"}
        shared = {axis: value for axis, value in fit.axes.items() if axis not in own}
        return next(
            (
                other
                for other in self.found
                if other.axes["implementation"] in REFERENCES
                and other is not fit
                and all(other.axes[axis] == value for axis, value in shared.items())
            ),
            None,
        )


def fits(summary: pd.DataFrame) -> Fits:
    """A fit for each series of a summary that has enough sizes, in its order."""
    measured = summary[(summary["status"] == "measured") & summary["seconds"].gt(0) & summary["phase"].isin(PHASES)]
    results = [_of_series(key, cases) for key, cases in measured.groupby(SERIES, sort=False, dropna=False)]
    return Fits(
        tuple(result for result in results if isinstance(result, SizeFit)),
        tuple(result for result in results if isinstance(result, LeftOut)),
    )


def _of_series(key: tuple[Any, ...], cases: pd.DataFrame) -> SizeFit | LeftOut:
    points = cases.reindex(columns=[*MOVING, "seconds", "macs"]).to_numpy(dtype=float)
    ceiling = ceilings.of_text(cases["ceiling"].iloc[0]) if "ceiling" in cases else None
    return _fit(key, points.tobytes(), ceiling)


@lru_cache(maxsize=1024)  # figures, tables and pages of one report ask for the same ones
def _fit(key: tuple[Any, ...], content: bytes, ceiling: Ceiling | None) -> SizeFit | LeftOut:
    """`key`: values of `SERIES`; `content`: (points, `MOVING`, seconds and MACs) as doubles."""
    axes = dict(zip(SERIES, key, strict=True))
    points = np.frombuffer(content).reshape(-1, len(MOVING) + 2)
    seconds, macs = points[:, -2], points[:, -1]
    sizes = pd.DataFrame(points[:, : len(MOVING)].astype(int), columns=list(MOVING)).assign(seconds=seconds)
    varied = sum(len(values) >= MIN_VALUES for values in levels(sizes).values())
    if len(sizes) < MIN_POINTS or varied < MIN_AXES:
        return LeftOut(axes, TOO_FEW)
    counted = counts(sizes, macs)
    if counted is None:
        return LeftOut(axes, UNCOUNTED)
    work = _work(sizes, macs, axes, ceiling)
    terms_of = {form: columns(form, work) for form in FORMS}
    usable = {form: terms for form, terms in terms_of.items() if np.isfinite(terms).all()}
    left_out = folds(sizes)
    errors = frame_of(sizes, left_out)
    log_errors = {form: _held_out(left_out, terms, seconds) for form, terms in usable.items()}
    within = errors["place"].isin(["point", "inside"]).to_numpy()
    tried = {form: float(np.abs(logs[within]).mean()) for form, logs in log_errors.items()}
    form = chosen(tried)
    errors["log_error"] = log_errors[form]
    return SizeFit(axes, form, solve(usable[form], seconds), sizes, errors, tried, counted, ceiling)


def chosen(tried: Mapping[str, float]) -> str:
    """The first form whose error is about the smallest; `tried` is in order of rising numbers of terms."""
    least = min(tried.values())
    return next(form for form, error in tried.items() if error <= ALIKE * least)


def solve(terms: Array, seconds: Array) -> Array:
    """Non-negative costs of each term with the least squares of relative errors (Lawson & Hanson 1974): (terms)."""
    return _costs(terms / seconds[:, None])


def _costs(relative: Array) -> Array:
    """The non-negative costs with which the terms, relative to the time, come nearest to one: (points, terms)."""
    scale = np.linalg.norm(relative, axis=0)
    scaled_costs, _ = nnls(relative / scale, np.ones(len(relative)))
    return np.asarray(scaled_costs / scale)


def _held_out(left_out: Sequence[Fold], terms: Array, seconds: Array) -> Array:
    """The fit over the time at each point of each fold, on logarithms, one fold after another."""
    relative = terms / seconds[:, None]
    fitted = [relative[fold.out] @ _costs(relative[~fold.out]) for fold in left_out]
    # A form that gives no time at all has a very large error, but a finite one.
    return np.asarray(np.log(np.maximum(np.concatenate(fitted), NO_TIME)))


def _work(sizes: pd.DataFrame, macs: Array, axes: Mapping[str, Any], ceiling: Ceiling | None) -> Work:
    batch, steps, hidden = (sizes[axis].to_numpy(dtype=float) for axis in ("batch_size", "seq_len", "hidden_size"))
    is_training = axes["phase"] != "inference"
    return Work(batch, steps, hidden, macs, ITEM_BYTES[axes["dtype"]], is_training, ceiling)

"""How time grows with sizes: a fit for each series, its errors where nothing was fitted, and what explains ratios.

A call's time is made of terms that grow with its sizes, each with its cause, and a form adds some of them up, with
non-negative costs. Some forms add all (after Hockney's half-performance length, where a start-up and a rate are one
straight line). One takes the larger of two, as the roofline does (Williams, Waterman and Patterson 2009,
doi:10.1145/1498765.1498785). The error at points that were held out decides which form a series gets.

A point among others is easy to guess; only sizes that were left out as a whole show what a prediction at a new size is
worth. Those inside the measured range and those at its ends are kept apart, since the second kind is harder.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import nnls

from rnnbench.store import ceilings
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.implementations import REFERENCES
from rnnbench.store.records import (
    AXES,
    ITEM_BYTES,
)

Array = npt.NDArray[np.float64]
TimeCause = Literal["dispatch", "arithmetic", "memory"]
TIME_CAUSES: tuple[TimeCause, ...] = ("dispatch", "arithmetic", "memory")
Terms = Mapping[str, Mapping[TimeCause, Array]]  # name -> how much of it each call has, by its causes
MOVING = ("batch_size", "seq_len", "input_size", "hidden_size")  # the sizes that a fit is over
SERIES_AXES = ["run", *(axis for axis in AXES if axis not in MOVING)]  # what the cases of a fit share
FITTED_PHASES = ("inference", "training", "step")  # whose calls run one batch
PRODUCTS_IN_TRAINING = 3  # with each weight: forward, for its gradient, for its operand's gradient
# From few terms to many: of two forms that are equally good, the first is taken.
TIME_FORMS: dict[str, tuple[str, ...]] = {
    "steps": ("call", "step"),
    "arithmetic": ("call", "step", "macs"),
    "roofline": ("call", "step", "roof", "state bytes"),
    "sum": ("call", "step", "macs", "state bytes", "weight bytes"),
    "sum by cache": ("call", "step", "macs", "state bytes", "weights from cache"),
    "sum with weights once": ("call", "step", "macs", "state bytes", "weight bytes", "weight bytes, once"),
}
ALIKE = 1.05  # times the smallest held-out error; the form with the fewest terms within this is taken
MIN_POINTS = 6
MIN_VALUES = 3  # of a size; with fewer, none can be held out between others
MIN_AXES = 2  # that have `MIN_VALUES` values or more
MAX_FOLDS = 50  # of points; of more, several are left out at once, since each fold costs a fit of each form
NO_TIME = 1e-6  # of the measured time, in place of a fitted time of zero
EXACT = 1e-6  # relative; counts of MACs are whole numbers, and the arithmetic is in doubles
DEPENDENT = 1e-9  # of the largest singular value
TOO_FEW_SIZES = (
    f"fewer than {MIN_POINTS} sizes were measured, or fewer than {MIN_AXES} of batch, length, input and hidden "
    f"size at {MIN_VALUES} values or more"
)
UNCOUNTED_MACS = "its MACs are not known, or follow from more than batch, length, input and hidden size"


@dataclass(frozen=True)
class SizeFit:
    """How the time of one series grows with its sizes, and the errors at points that were held out."""

    axes: Mapping[str, Any]  # of `SERIES_AXES`
    form: str
    costs: Array  # seconds for each unit of the form's terms
    sizes: pd.DataFrame  # the measured ones: `MOVING`, `seconds`
    errors: pd.DataFrame  # of held-out points: `MOVING`, `axis`, `place`, `log_error` of the fit over the measured
    macs: Callable[[pd.DataFrame], Array]
    ceiling: Ceiling | None

    @property
    def levels(self) -> dict[str, tuple[int, ...]]:
        """The measured values of each size, rising."""
        return levels(self.sizes)

    def terms(self, sizes: pd.DataFrame) -> Terms:
        """Return how much of each term a call at each of `sizes` has; NaN if its arithmetic is not known."""
        return terms_of(sizes, self.macs(sizes), self.axes, self.ceiling)

    def seconds(self, sizes: pd.DataFrame) -> Array:
        """Return the fitted time of a call at each of `sizes`."""
        fitted: Array = columns(self.form, self.terms(sizes)) @ self.costs
        return fitted

    def by_cause(self, sizes: pd.DataFrame) -> dict[TimeCause, Array]:
        """Return the fitted seconds of each cause."""
        terms = self.terms(sizes)
        seconds = {cause: np.zeros(len(sizes)) for cause in TIME_CAUSES}
        for cost, term in zip(self.costs, TIME_FORMS[self.form], strict=True):
            for cause, amount in terms[term].items():
                seconds[cause] = seconds[cause] + cost * amount
        return seconds


def fits(summary: pd.DataFrame) -> tuple[list[SizeFit], list[str]]:
    """Return a fit for each series of a summary that has enough sizes, and why each other series has none."""
    measured = summary[
        (summary["status"] == "measured") & summary["seconds"].gt(0) & summary["phase"].isin(FITTED_PHASES)
    ]
    size_fits = []
    reasons = []
    for key, cases in measured.groupby(SERIES_AXES, sort=False, dropna=False):
        sizes = cases[[*MOVING, "seconds"]].reset_index(drop=True)
        macs = cases.reindex(columns=["macs"])["macs"].to_numpy(dtype=float)
        varied = sum(len(values) >= MIN_VALUES for values in levels(sizes).values())
        if len(sizes) < MIN_POINTS or varied < MIN_AXES:
            reasons.append(TOO_FEW_SIZES)
        elif (polynomial := macs_of_sizes(sizes, macs)) is None:
            reasons.append(UNCOUNTED_MACS)
        else:
            axes = dict(zip(SERIES_AXES, key, strict=True))
            ceiling = ceilings.of_text(cases["ceiling"].iloc[0]) if "ceiling" in cases else None
            terms = terms_of(sizes, macs, axes, ceiling)
            size_fits.append(SizeFit(axes, *_best_form(sizes, terms), polynomial, ceiling))
    return size_fits, reasons


def reference_of(fit: SizeFit, among: Iterable[SizeFit]) -> SizeFit | None:
    """Return the fit of the same workloads' reference; None for the reference itself."""
    shared = [axis for axis in SERIES_AXES if axis not in ("cell", "implementation")]
    references = (other for other in among if other.axes["implementation"] in REFERENCES and other is not fit)
    return next((other for other in references if all(other.axes[axis] == fit.axes[axis] for axis in shared)), None)


def levels(sizes: pd.DataFrame) -> dict[str, tuple[int, ...]]:
    """Return the values of each size, rising."""
    return {axis: tuple(sorted(int(value) for value in sizes[axis].unique())) for axis in MOVING}


def place_of(value: int, measured: Sequence[int]) -> str:
    """Return where a value of a size lies among the measured ones that are kept: below them, above them or inside."""
    if value <= measured[0]:
        return "below"
    return "above" if value >= measured[-1] else "inside"


def terms_of(sizes: pd.DataFrame, macs: Array, axes: Mapping[str, Any], ceiling: Ceiling | None) -> Terms:
    """Return how much of each term a call at each of `sizes` has; a cost turns that into seconds.

    Each weight is in one product for each row, and is read once for all rows. How many bytes all weights occupy decides
    how near to the processor they lie. Without a ceiling, terms that need its rates are NaN.
    """
    batch = sizes["batch_size"].to_numpy(dtype=float)
    steps = sizes["seq_len"].to_numpy(dtype=float)
    hidden = sizes["hidden_size"].to_numpy(dtype=float)
    item_bytes = ITEM_BYTES[axes["dtype"]]
    weight_bytes = item_bytes * macs / batch
    arithmetic = from_cache = np.full(len(sizes), math.nan)
    if ceiling is not None:
        arithmetic = macs / ceiling.macs_per_second
        resident = weight_bytes / (steps * (1 if axes["phase"] == "inference" else PRODUCTS_IN_TRAINING))
        from_cache = weight_bytes / np.array([ceiling.bytes_per_second(size) for size in resident])
    is_larger = arithmetic >= from_cache
    return {
        "call": {"dispatch": np.ones(len(sizes))},
        "step": {"dispatch": steps},
        "macs": {"arithmetic": macs},
        "state bytes": {"memory": item_bytes * steps * batch * hidden},
        "weight bytes": {"memory": weight_bytes},
        "weight bytes, once": {"memory": weight_bytes / steps},
        "weights from cache": {"memory": from_cache},
        "roof": {"arithmetic": np.where(is_larger, arithmetic, 0.0), "memory": np.where(is_larger, 0.0, from_cache)},
    }


def columns(form: str, terms: Terms) -> Array:
    """Return how much each call has of each of a form's terms: (calls, terms)."""
    return np.stack([np.sum(list(terms[term].values()), axis=0) for term in TIME_FORMS[form]], axis=1)


def macs_of_sizes(sizes: pd.DataFrame, macs: Array) -> Callable[[pd.DataFrame], Array] | None:
    """Return the MACs of a call as a function of its sizes, exactly, from recorded counts.

    They are a polynomial whose terms are the same for every cell. The function returns NaN at sizes for which the
    recorded counts don't determine it. Returns None if they lie on none, as with sequences of unequal lengths.
    """
    terms = _products(sizes)
    per_sequence = macs / sizes["batch_size"].to_numpy(dtype=float)
    if not np.isfinite(per_sequence).all() or not (per_sequence > 0).all():
        return None
    rows = terms / per_sequence[:, None]
    scale = np.linalg.norm(rows, axis=0)
    inverse = np.linalg.pinv(rows / scale, rcond=DEPENDENT)
    projection = inverse @ (rows / scale)  # projects on the directions that the recorded sizes determine
    coefficients = inverse.sum(axis=1) / scale
    if np.abs(rows @ coefficients - 1).max() > EXACT:
        return None

    def macs_at(other_sizes: pd.DataFrame) -> Array:
        products = _products(other_sizes)
        scaled = products / scale
        outside = np.linalg.norm(scaled - scaled @ projection, axis=1)
        is_known = outside <= EXACT * np.linalg.norm(scaled, axis=1)
        batch = other_sizes["batch_size"].to_numpy(dtype=float)
        return np.where(is_known, batch * (products @ coefficients), np.nan)

    return macs_at


def _products(sizes: pd.DataFrame) -> Array:
    """Return products for one sequence, at each step and once: state by state, input by state, and the state alone."""
    steps = sizes["seq_len"].to_numpy(dtype=float)
    inputs = sizes["input_size"].to_numpy(dtype=float)
    hidden = sizes["hidden_size"].to_numpy(dtype=float)
    step = np.stack([hidden**2, inputs * hidden, hidden], axis=1)
    return np.concatenate([steps[:, None] * step, step], axis=1)


def _best_form(sizes: pd.DataFrame, terms: Terms) -> tuple[str, Array, pd.DataFrame, pd.DataFrame]:
    """Return the form with about the smallest error, its costs, the sizes, and its errors at held-out points.

    Held out are each point, or a random fiftieth of very many; and each value of the sizes with three values or more,
    with all its points.
    """
    dealt = np.random.default_rng(0).permutation(len(sizes)) % MAX_FOLDS
    folds = [("", "point", dealt == number) for number in range(min(len(sizes), MAX_FOLDS))]
    for axis, values in levels(sizes).items():
        if len(values) >= MIN_VALUES:
            folds += [(axis, place_of(value, values), (sizes[axis] == value).to_numpy()) for value in values]
    counts = [int(out.sum()) for *_, out in folds]
    errors = sizes[list(MOVING)].iloc[np.concatenate([np.flatnonzero(out) for *_, out in folds])]
    errors = errors.reset_index(drop=True).assign(
        axis=np.repeat([axis for axis, *_ in folds], counts), place=np.repeat([place for _, place, _ in folds], counts)
    )
    is_within = errors["place"].isin(["point", "inside"]).to_numpy()
    costs = {}
    log_errors = {}
    error_of = {}
    for form in TIME_FORMS:
        relative = columns(form, terms) / sizes["seconds"].to_numpy()[:, None]
        if np.isfinite(relative).all():
            fitted = np.concatenate([relative[out] @ _costs(relative[~out]) for *_, out in folds])
            # A form that gives no time at all has a very large error, but a finite one.
            log_errors[form] = np.log(np.maximum(fitted, NO_TIME))
            error_of[form] = float(np.abs(log_errors[form][is_within]).mean())
            costs[form] = _costs(relative)
    best = next(form for form, error in error_of.items() if error <= ALIKE * min(error_of.values()))
    return best, costs[best], sizes, errors.assign(log_error=log_errors[best])


def _costs(relative: Array) -> Array:
    """Return the non-negative costs with which terms, relative to the time, come nearest to one: (points, terms).

    These are the least squares of relative errors (Lawson & Hanson 1974).
    """
    scale = np.linalg.norm(relative, axis=0)
    scaled_costs, _ = nnls(relative / scale, np.ones(len(relative)))
    return np.asarray(scaled_costs / scale)


def explaining(cases: pd.DataFrame, within: Sequence[str], axes: Sequence[str]) -> str | None:
    """Return the axis with the highest of `explained_shares`, the first one if there are none; None without axes."""
    shares = explained_shares(cases, within, axes)
    return max(axes, key=lambda axis: shares.get(axis, -math.inf), default=None)


def explained_shares(cases: pd.DataFrame, within: Sequence[str], axes: Sequence[str]) -> dict[str, float]:
    """Return by axis the share of the variance of log ratios within groups that its values explain.

    `cases` needs the columns `ratio` (above 0), `within` and `axes`. A share is adjusted for the number of values, as
    adjusted R squared is, so that an axis of many values gains nothing by chance. An axis that can't be told apart from
    chance, as with one case for each value, has none.
    """
    logs = np.log(cases["ratio"])
    keys = [cases[column] for column in within]
    shares = dict[str, float]()
    plain = logs.groupby(keys)
    variance = (logs - plain.transform("mean")).pow(2).sum() / max(len(cases) - plain.ngroups, 1)
    for axis in axes:
        by_axis = logs.groupby([*keys, cases[axis]])
        if variance > 0 and (free := len(cases) - by_axis.ngroups) > 0:
            shares[axis] = float(1 - (logs - by_axis.transform("mean")).pow(2).sum() / free / variance)
    return shares

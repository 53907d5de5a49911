import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.size_fit import (
    MAX_FOLDS,
    MOVING,
    TIME_FORMS,
    TOO_FEW_SIZES,
    UNCOUNTED_MACS,
    SizeFit,
    columns,
    explained_shares,
    explaining,
    fits,
    macs_of_sizes,
    reference_of,
    terms_of,
)
from rnnbench.store.records import Workload

from . import made_up

LOOP: dict[tuple[str, str], made_up.Law] = {("lstm", "loop"): made_up.loop}


def fitted(summary: pd.DataFrame) -> SizeFit:
    """The only fit of a summary with one series."""
    [fit], _ = fits(summary)
    return fit


def cost(fit: SizeFit, term: str) -> float:
    """Seconds for each unit of a term."""
    return float(fit.costs[TIME_FORMS[fit.form].index(term)])


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_costs_that_were_put_in_are_found_again(phase: str) -> None:
    fit = fitted(made_up.summary(LOOP, phase=phase))
    assert fit.form == "sum"
    assert cost(fit, "call") == pytest.approx(1e-5, rel=1e-3)
    assert cost(fit, "step") == pytest.approx(2e-5, rel=1e-3)
    assert 1 / cost(fit, "macs") == pytest.approx(6e10, rel=1e-3)
    assert 1 / cost(fit, "weight bytes") == pytest.approx(1e11, rel=1e-3)
    assert fit.errors["log_error"].abs().max() < 1e-6
    assert np.sum(list(fit.by_cause(fit.sizes).values()), axis=0) == pytest.approx(fit.seconds(fit.sizes))


def test_a_law_of_the_larger_of_two_is_fitted_as_such() -> None:
    def roofline(work: Workload, macs: float) -> float:
        weights = 4 * macs / work.batch_size
        rate = made_up.CEILING.bytes_per_second(weights / work.seq_len)
        return 1e-5 + 2e-5 * work.seq_len + 1.5 * max(macs / 5e10, weights / rate)

    fit = fitted(made_up.summary({("lstm", "loop"): roofline}))
    assert fit.form == "roofline"
    assert cost(fit, "roof") == pytest.approx(1.5, rel=1e-3)
    assert fit.seconds(fit.sizes) == pytest.approx(fit.sizes["seconds"].to_numpy())


def test_a_form_with_more_terms_must_be_better_to_be_taken() -> None:
    def only_steps(work: Workload, macs: float) -> float:
        return 1e-5 + 2e-5 * work.seq_len

    assert fitted(made_up.summary({("lstm", "loop"): only_steps}, noise=0.05)).form == "steps"


def test_every_size_of_an_axis_is_held_out_with_all_of_its_points() -> None:
    kinds = fitted(made_up.summary(LOOP)).errors.groupby(["axis", "place"]).size().to_dict()
    assert kinds == {
        ("", "point"): 48,
        ("batch_size", "below"): 12, ("batch_size", "inside"): 24, ("batch_size", "above"): 12,
        ("hidden_size", "below"): 12, ("hidden_size", "inside"): 24, ("hidden_size", "above"): 12,
        ("seq_len", "below"): 16, ("seq_len", "inside"): 16, ("seq_len", "above"): 16,
    }  # fmt: skip


def test_each_point_is_held_out_once_among_others_however_many_there_are() -> None:
    fit = fitted(made_up.summary(LOOP, steps=[1, 2, 4, 8, 16, 32, 64, 128]))
    points = fit.errors.query("place == 'point'")[list(MOVING)]
    assert len(fit.sizes) > MAX_FOLDS
    assert len(points) == len(points.drop_duplicates()) == len(fit.sizes)


def test_series_with_few_sizes_or_unknown_arithmetic_are_left_out_with_the_reason() -> None:
    few = made_up.summary(LOOP, batches=[1, 4], steps=[4, 16])
    uncounted = made_up.summary({("gru", "loop"): made_up.loop}).assign(macs=np.nan)
    single = made_up.summary({("rnn", "loop"): made_up.loop}, batches=[1], steps=[4], hidden=[32])
    assert fits(pd.concat([few, uncounted, single])) == ([], [TOO_FEW_SIZES, UNCOUNTED_MACS, TOO_FEW_SIZES])
    assert fits(uncounted.drop(columns="macs")) == ([], [UNCOUNTED_MACS])


def test_a_series_is_fitted_without_a_ceiling_and_without_a_value_on_some_axis() -> None:
    measured = made_up.summary(made_up.BOTH)
    for older in (measured.drop(columns="ceiling"), measured.assign(ceiling=np.nan), measured.assign(threads=np.nan)):
        assert len(fits(older)[0]) == 2


def test_the_reference_is_that_of_the_same_workloads() -> None:
    rows = made_up.summary(made_up.BOTH)
    found, _ = fits(pd.concat([rows.assign(threads=2), rows]))
    by_cell = [(fit.axes["cell"], fit.axes["threads"], reference_of(fit, found)) for fit in found]
    assert [reference.axes["threads"] for cell, _, reference in by_cell if cell == "lstm"] == [2, 1]
    assert all(reference is None for cell, _, reference in by_cell if cell != "lstm")


# A call of 4 steps for batches of 1 and of 1000, with 250,000 weights of 4 bytes: one million bytes.
SIZES = pd.DataFrame({"batch_size": [1, 1000], "seq_len": 4, "hidden_size": 128})
MACS = np.array([1e6, 1e9])
AXES = {"phase": "inference", "dtype": "float32"}


def test_how_much_of_each_term_a_call_has() -> None:
    terms = terms_of(SIZES, MACS, AXES, made_up.CEILING)
    amounts = {form: dict(zip(TIME_FORMS[form], columns(form, terms).T.tolist(), strict=True)) for form in TIME_FORMS}
    plain = {"call": [1, 1], "step": [4, 4], "macs": [1e6, 1e9], "state bytes": [2048, 2048e3]}
    assert amounts["steps"] == {name: plain[name] for name in ("call", "step")}
    assert amounts["arithmetic"] == {name: plain[name] for name in ("call", "step", "macs")}
    assert amounts["sum"] == plain | {"weight bytes": [4e6, 4e6]}
    assert amounts["sum with weights once"] == plain | {"weight bytes": [4e6, 4e6], "weight bytes, once": [1e6, 1e6]}
    assert amounts["sum by cache"] == plain | {"weights from cache": [1e-4, 1e-4]}  # 4 MB at 40 GB/s
    assert amounts["roofline"]["roof"] == pytest.approx([1e-4, 1e9 / 5e10])
    assert [terms["roof"][cause].tolist() for cause in ("arithmetic", "memory")] == [[0.0, 0.02], [1e-4, 0.0]]


def test_training_uses_each_weight_three_times() -> None:
    """For the same arithmetic its weights are a third as large as in inference, and here fit into a faster cache."""
    seconds = [
        terms_of(SIZES, 2 * MACS, AXES | {"phase": phase}, made_up.CEILING)["weights from cache"]["memory"].tolist()
        for phase in ("inference", "training")
    ]
    assert seconds == [pytest.approx([8e6 / 1e10] * 2), pytest.approx([8e6 / 4e10] * 2)]


Sizes = tuple[int, int, int, int]


def counted(phase: str, sizes: list[Sizes]) -> np.ndarray:
    loads = [Workload("lstm", phase, "many_to_many", b, t, i, h, 10, 1, "float32", "cpu", 1) for b, t, i, h in sizes]  # type: ignore[arg-type]
    return np.array([made_up.macs(load) for load in loads], dtype=float)


def sizes_of(rows: list[Sizes]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(MOVING))


@given(st.tuples(*[st.integers(1, 500)] * 4), st.sampled_from(["inference", "training"]))
def test_macs_of_any_size_follow_exactly_from_a_few_recorded_ones(size: Sizes, phase: str) -> None:
    rows = [
        (batch, steps, inputs, hidden)
        for batch, steps in ((1, 3), (5, 7))
        for inputs in (8, 64)
        for hidden in (16, 32, 256)
    ]
    macs = macs_of_sizes(sizes_of(rows), counted(phase, rows))
    assert macs is not None
    assert macs(sizes_of([size]))[0] == pytest.approx(counted(phase, [size])[0], rel=1e-6)


FEW = [(batch, steps, 64, hidden) for batch in (1, 2) for steps in (3, 5) for hidden in (16, 32)]


def test_where_an_axis_stood_still_macs_are_known_for_its_value_alone() -> None:
    macs = macs_of_sizes(sizes_of(FEW), counted("inference", FEW))
    assert macs is not None
    same, other = macs(sizes_of([(7, 9, 64, 100), (7, 9, 65, 100)]))
    assert same == pytest.approx(counted("inference", [(7, 9, 64, 100)])[0], rel=1e-6)
    assert np.isnan(other)


@pytest.mark.parametrize("factors", [np.linspace(1, 1.01, 8), np.full(8, np.nan), np.zeros(8)])
def test_counts_on_no_polynomial_of_the_sizes_are_not_known(factors: np.ndarray) -> None:
    assert macs_of_sizes(sizes_of(FEW), factors * counted("inference", FEW)) is None


def ratios(of_batch: float, of_length: float, lengths: range, noise: float) -> pd.DataFrame:
    """Two series, far from each other, whose log ratios depend on batch and length."""
    random = np.random.default_rng(1)
    rows = [
        {"series": series, "batch_size": batch, "seq_len": length, "ratio": math.exp(log)}
        for number, series in enumerate(("a", "b"))
        for batch in (1, 8, 32)
        for length in lengths
        for log in [5 * number + of_batch * np.log(batch) + of_length * np.log(length) + random.normal(0, noise)]
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("frame", "axis"),
    [
        (ratios(0.5, 0.1, range(16, 65, 48), 0.01), "batch_size"),
        (ratios(0.05, 0.8, range(16, 65, 48), 0.01), "seq_len"),
        (ratios(0.1, 0.0, range(1, 41), 0.4), "batch_size"),  # an axis of many values gains nothing by chance
        (ratios(0.5, 0.0, range(16, 17), 0.01), "seq_len"),  # can't be told apart: the first
        (ratios(0.0, 0.0, range(16, 65, 48), 0.0), "seq_len"),
    ],
)
def test_the_axis_that_moves_the_ratios_within_each_series_explains_most(frame: pd.DataFrame, axis: str) -> None:
    assert explaining(frame, ["series"], ["seq_len", "batch_size"]) == axis
    assert explaining(frame, ["series"], []) is None


@pytest.mark.parametrize("series", [("a",), ("a", "b")])
def test_a_share_is_that_of_the_variance_and_pays_for_each_value_of_its_axis(series: tuple[str, ...]) -> None:
    """By hand: the variance is 17.5 / 5, what a batch leaves of it 4 / 4, and what a length leaves 13.5 / 3."""
    rows = [
        {"series": name, "batch_size": 1 + place // 3, "seq_len": 1 + place % 3, "case": place, "ratio": math.exp(log)}
        for number, name in enumerate(series)
        for place, log in enumerate(10.0 * number + np.arange(6))
    ]
    shares = explained_shares(pd.DataFrame(rows), ["series"], ["batch_size", "seq_len", "case"])
    assert shares == pytest.approx({"batch_size": 1 - 1 / 3.5, "seq_len": 1 - 4.5 / 3.5})  # no case is like another

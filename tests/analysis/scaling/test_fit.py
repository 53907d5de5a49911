import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.scaling.fit import TOO_FEW, UNCOUNTED, chosen, fits
from rnnbench.store.records import Workload

from . import made_up


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_costs_that_were_put_in_are_found_again(phase: str) -> None:
    [fit] = fits(made_up.summary({("lstm", "loop"): made_up.loop}, phase=phase)).found
    assert fit.form == "sum"
    assert fit.cost("call") == pytest.approx(1e-5, rel=1e-3)
    assert fit.cost("step") == pytest.approx(2e-5, rel=1e-3)
    assert 1 / fit.cost("macs") == pytest.approx(6e10, rel=1e-3)
    assert 1 / fit.cost("weight bytes") == pytest.approx(1e11, rel=1e-3)
    assert np.isnan(fit.cost("roof"))
    assert fit.work(fit.sizes).takes_gradients == (phase == "training")
    assert fit.errors["log_error"].abs().max() < 1e-6


def test_a_law_of_the_larger_of_two_is_fitted_as_such() -> None:
    def roofline(work: Workload, macs: float) -> float:
        weights = 4 * macs / work.batch_size
        rate = made_up.CEILING.bytes_per_second(weights / work.seq_len)
        return 1e-5 + 2e-5 * work.seq_len + 1.5 * max(macs / 5e10, weights / rate)

    [fit] = fits(made_up.summary({("lstm", "loop"): roofline})).found
    assert fit.form == "roofline"
    assert fit.seconds(fit.sizes) == pytest.approx(fit.sizes["seconds"].to_numpy(), rel=1e-3)
    assert fit.cost("roof") == pytest.approx(1.5, rel=1e-3)
    assert fit.seconds(fit.sizes) == pytest.approx(fit.sizes["seconds"].to_numpy())


def test_causes_add_up_to_the_fitted_time() -> None:
    [fit] = fits(made_up.summary({("lstm", "loop"): made_up.loop})).found
    total = np.sum(list(fit.by_cause(fit.sizes).values()), axis=0)
    assert total == pytest.approx(fit.seconds(fit.sizes))


def test_every_size_of_an_axis_is_held_out_with_all_of_its_points() -> None:
    [fit] = fits(made_up.summary({("lstm", "loop"): made_up.loop})).found
    kinds = fit.errors.groupby(["axis", "place"]).size().to_dict()
    assert kinds == {
        ("", "point"): 48,
        ("batch_size", "below"): 12, ("batch_size", "inside"): 24, ("batch_size", "above"): 12,
        ("hidden_size", "below"): 12, ("hidden_size", "inside"): 24, ("hidden_size", "above"): 12,
        ("seq_len", "below"): 16, ("seq_len", "inside"): 16, ("seq_len", "above"): 16,
    }  # fmt: skip


def test_a_form_with_more_terms_must_be_better_to_be_taken() -> None:
    assert chosen({"steps": 0.5, "arithmetic": 0.0401, "sum": 0.04}) == "arithmetic"
    assert chosen({"steps": 0.5, "arithmetic": 0.05, "sum": 0.04}) == "sum"
    assert chosen({"steps": 0.0, "sum": 0.0}) == "steps"


def test_series_with_few_sizes_or_unknown_arithmetic_are_left_out_with_the_reason() -> None:
    few = made_up.summary({("lstm", "loop"): made_up.loop}, batches=[1, 4], steps=[4, 16])
    uncounted = made_up.summary({("gru", "loop"): made_up.loop}).assign(macs=np.nan)
    single = made_up.summary({("rnn", "loop"): made_up.loop}, batches=[1], steps=[4], hidden=[32])
    fitted = fits(pd.concat([few, uncounted, single]))
    assert not fitted.found
    assert [series.reason for series in fitted.left_out] == [TOO_FEW, UNCOUNTED, TOO_FEW]
    assert [series.reason for series in fits(few.drop(columns="macs")).left_out] == [TOO_FEW]
    assert [series.reason for series in fits(uncounted.drop(columns="macs")).left_out] == [UNCOUNTED]


def test_a_run_of_an_older_version_without_ceilings_is_fitted_by_the_forms_that_need_none() -> None:
    measured = made_up.summary({("lstm", "loop"): made_up.loop})
    for older in (measured.drop(columns="ceiling"), measured.assign(ceiling=np.nan)):
        [fit] = fits(older).found
        assert set(fit.tried) == {"steps", "arithmetic", "sum", "sum with weights once"}


def test_a_series_without_a_value_on_some_axis_is_fitted_too() -> None:
    assert len(fits(made_up.summary(made_up.BOTH).assign(threads=np.nan)).found) == 2


def test_the_reference_is_that_of_the_same_workloads() -> None:
    rows = made_up.summary(made_up.BOTH)
    fitted = fits(pd.concat([rows.assign(threads=2), rows]))
    hand_written = [fit for fit in fitted.found if fit.axes["cell"] == "lstm"]
    assert [fitted.reference_of(fit).axes["threads"] for fit in hand_written] == [2, 1]
    assert all(fitted.reference_of(fit) is None for fit in fitted.found if fit.axes["cell"] != "lstm")

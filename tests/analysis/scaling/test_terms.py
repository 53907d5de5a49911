import math
from dataclasses import replace

import numpy as np
import pytest

from rnnbench.analysis.scaling.terms import CAUSES, FORMS, Work, by_cause, columns

from . import made_up

# A call of 4 steps for batches of 1 and of 1000, with 250,000 weights of 4 bytes: one million bytes.
BATCH, STEPS, HIDDEN = np.array([1.0, 1000.0]), np.array([4.0, 4.0]), np.array([128.0, 128.0])
WORK = Work(BATCH, STEPS, HIDDEN, 1e6 * BATCH, 4, False, made_up.CEILING)


def test_how_much_of_each_term_a_call_has() -> None:
    terms = {form: dict(zip(FORMS[form], columns(form, WORK).T.tolist(), strict=True)) for form in FORMS}
    plain = {"call": [1, 1], "step": [4, 4], "macs": [1e6, 1e9], "state bytes": [2048, 2048e3]}
    assert terms["steps"] == {name: plain[name] for name in ("call", "step")}
    assert terms["arithmetic"] == {name: plain[name] for name in ("call", "step", "macs")}
    assert terms["sum"] == plain | {"weight bytes": [4e6, 4e6]}
    assert terms["sum with weights once"] == plain | {"weight bytes": [4e6, 4e6], "weight bytes, once": [1e6, 1e6]}
    assert terms["sum by cache"] == plain | {"weights from cache": [1e-4, 1e-4]}  # 4 MB at 40 GB/s
    assert terms["roofline"]["roof"] == pytest.approx([1e-4, 1e9 / 5e10])


def test_training_uses_each_weight_three_times() -> None:
    """For the same arithmetic its weights are a third as large as in inference, and here fit into a faster cache."""
    large = replace(WORK, macs=2e6 * BATCH)
    assert large.cached_weight_seconds() == pytest.approx([8e6 / 1e10] * 2)
    assert replace(large, takes_gradients=True).cached_weight_seconds() == pytest.approx([8e6 / 4e10] * 2)


def test_the_larger_of_two_is_what_bounds_a_call() -> None:
    seconds = by_cause("roofline", np.array([1e-5, 1e-6, 2.0, 0.0]), WORK)
    assert list(seconds) == list(CAUSES)
    assert seconds["dispatch"] == pytest.approx([1.4e-5, 1.4e-5])
    assert seconds["arithmetic"] == pytest.approx([0.0, 0.04])
    assert seconds["memory"] == pytest.approx([2e-4, 0.0])
    even = replace(WORK, macs=np.array([5e6, 5e6]), batch=np.array([5.0, 5.0]))  # 100 us for each of the two
    seconds = by_cause("roofline", np.array([0.0, 0.0, 1.0, 0.0]), even)
    assert seconds["arithmetic"] == pytest.approx([1e-4, 1e-4])
    assert seconds["memory"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("form", FORMS)
def test_causes_add_up_to_their_terms(form: str) -> None:
    costs = np.arange(1.0, 1 + len(FORMS[form]))
    assert np.sum(list(by_cause(form, costs, WORK).values()), axis=0) == pytest.approx(columns(form, WORK) @ costs)


def test_without_a_ceiling_only_terms_that_need_one_are_not_known() -> None:
    unknown = replace(WORK, ceiling=None)
    needy = {form for form in FORMS if np.isnan(columns(form, unknown)).any()}
    assert needy == {"roofline", "sum by cache"}
    assert math.isnan(unknown.arithmetic_seconds()[0])

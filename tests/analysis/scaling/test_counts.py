import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.scaling.counts import counts
from rnnbench.store.records import Workload

from . import made_up

AXES = ["batch_size", "seq_len", "input_size", "hidden_size"]


def counted(phase: str, sizes: list[tuple[int, int, int, int]]) -> np.ndarray:
    loads = [Workload("lstm", phase, "many_to_many", b, t, i, h, 10, 1, "float32", "cpu", 1) for b, t, i, h in sizes]  # type: ignore[arg-type]
    return np.array([made_up.macs(load) for load in loads], dtype=float)


def sizes_of(rows: list[tuple[int, int, int, int]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=AXES)


@given(st.tuples(*[st.integers(1, 500)] * 4), st.sampled_from(["inference", "training"]))
def test_macs_of_any_size_follow_exactly_from_a_few_recorded_ones(size: tuple[int, int, int, int], phase: str) -> None:
    rows = [
        (batch, steps, inputs, hidden)
        for batch, steps in ((1, 3), (5, 7))
        for inputs in (8, 64)
        for hidden in (16, 32, 256)
    ]
    known = counts(sizes_of(rows), counted(phase, rows))
    assert known.macs(sizes_of([size]))[0] == pytest.approx(counted(phase, [size])[0], rel=1e-6)


def test_where_an_axis_stood_still_macs_are_known_for_its_value_alone() -> None:
    rows = [(batch, steps, 64, hidden) for batch in (1, 2) for steps in (3, 5) for hidden in (16, 32)]
    known = counts(sizes_of(rows), counted("inference", rows))
    same, other, _ = known.macs(sizes_of([(7, 9, 64, 100), (7, 9, 65, 100), (7, 10**9, 64, 100)]))
    assert same == pytest.approx(counted("inference", [(7, 9, 64, 100)])[0], rel=1e-6)
    assert np.isnan(other)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda macs: macs * np.linspace(1, 1.01, len(macs)),
        lambda macs: macs * np.nan,
        lambda macs: np.where(np.arange(len(macs)) == 3, np.nan, macs),
        lambda macs: 0 * macs,
        lambda macs: np.where(np.arange(len(macs)) == 3, 0, macs),
    ],
)
def test_counts_on_no_polynomial_of_the_sizes_are_not_known(spoil: object) -> None:
    rows = [(batch, steps, 64, hidden) for batch in (1, 2) for steps in (3, 5) for hidden in (16, 32)]
    assert counts(sizes_of(rows), spoil(counted("inference", rows))) is None  # type: ignore[operator]

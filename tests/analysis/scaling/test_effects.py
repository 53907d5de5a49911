import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.scaling.effects import explained, explaining

GRID = [(batch, length) for batch in (1, 8, 32) for length in (16, 64)]


def cases(of_batch: float, of_length: float, noise: float = 0.01) -> pd.DataFrame:
    """Two series, far from each other, whose log ratios depend on batch and length."""
    random = np.random.default_rng(1)
    rows = [
        {"series": series, "batch_size": batch, "seq_len": length, "ratio": float(np.exp(log))}
        for number, series in enumerate(("a", "b"))
        for batch, length in GRID
        for log in [5 * number + of_batch * np.log(batch) + of_length * np.log(length) + random.normal(0, noise)]
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("effects", "axis"), [((0.5, 0.1), "batch_size"), ((0.05, 0.8), "seq_len")])
def test_the_axis_that_moves_the_ratios_within_each_series_explains_most(
    effects: tuple[float, float], axis: str
) -> None:
    frame = cases(*effects)
    assert explaining(frame, ["series"], ["batch_size", "seq_len"]) == axis
    assert explained(frame, ["series"], axis) > 0.8


def test_an_axis_of_many_values_gains_nothing_by_chance() -> None:
    random = np.random.default_rng(3)
    rows = [
        {"series": "a", "batch_size": batch, "seq_len": length, "ratio": float(np.exp(0.4 * number + noise))}
        for number, batch in enumerate((1, 32))
        for length in range(1, 41)
        for noise in [random.normal(0, 0.4)]
    ]
    frame = pd.DataFrame(rows)
    assert explaining(frame, ["series"], ["seq_len", "batch_size"]) == "batch_size"
    assert abs(explained(frame, ["series"], "seq_len")) < 0.3


def test_what_cannot_be_told_apart_is_not_known_and_the_first_axis_is_taken() -> None:
    single = cases(0.5, 0.0).query("seq_len == 16")  # each batch size has one case in each series
    assert np.isnan(explained(single, ["series"], "batch_size"))
    assert explaining(single, ["series"], ["batch_size"]) == "batch_size"
    alike = cases(0, 0).assign(ratio=2.0)
    assert np.isnan(explained(alike, ["series"], "seq_len"))
    assert explaining(alike, ["series"], ["seq_len", "batch_size"]) == "seq_len"
    assert explaining(alike, ["series"], []) is None

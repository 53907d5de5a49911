"""Multiply-accumulates at sizes that were not measured, exactly, from those that were.

The MACs of a call are a polynomial of its sizes whose terms are the same for every cell; its coefficients follow from
the recorded counts. At sizes for which these don't determine the count, it is not known.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from rnnbench.analysis.scaling.terms import Array

EXACT = 1e-6  # relative; the counts are whole numbers, and the arithmetic is in doubles
DEPENDENT = 1e-9  # of the largest singular value


@dataclass(frozen=True)
class StepCounts:
    """The polynomial for one sequence, and the directions that the recorded sizes determine."""

    coefficients: Array  # (terms)
    known: Array  # (rank, terms), orthonormal, of the scaled terms
    scale: Array  # (terms)

    def macs(self, sizes: pd.DataFrame) -> Array:
        """The MACs of a call at each of `sizes`; NaN if the recorded counts do not determine them."""
        terms = _terms(sizes)
        scaled = terms / self.scale
        outside = scaled - scaled @ self.known.T @ self.known
        is_known = np.linalg.norm(outside, axis=1) <= EXACT * np.linalg.norm(scaled, axis=1)
        batch = sizes["batch_size"].to_numpy(dtype=float)
        return np.where(is_known, batch * (terms @ self.coefficients), np.nan)


def counts(sizes: pd.DataFrame, macs: Array) -> StepCounts | None:
    """The polynomial through recorded counts; None if they lie on none, as with sequences of unequal lengths."""
    terms, per_sequence = _terms(sizes), macs / sizes["batch_size"].to_numpy(dtype=float)
    if not np.isfinite(per_sequence).all() or not (per_sequence > 0).all():
        return None
    rows = terms / per_sequence[:, None]
    scale = np.linalg.norm(rows, axis=0)
    left, singular, right = np.linalg.svd(rows / scale, full_matrices=False)
    rank = int((singular > DEPENDENT * singular[0]).sum())
    coefficients = right[:rank].T @ ((left[:, :rank].T @ np.ones(len(rows))) / singular[:rank]) / scale
    if np.abs(rows @ coefficients - 1).max() > EXACT:
        return None
    return StepCounts(coefficients, right[:rank], scale)


def _terms(sizes: pd.DataFrame) -> Array:
    """For one sequence, at each step and once: state by state, input by state, and the state alone."""
    steps, inputs, hidden = (sizes[axis].to_numpy(dtype=float) for axis in ("seq_len", "input_size", "hidden_size"))
    step = np.stack([hidden**2, inputs * hidden, hidden], axis=1)
    return np.concatenate([steps[:, None] * step, step], axis=1)

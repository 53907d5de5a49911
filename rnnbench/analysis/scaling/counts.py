"""Multiply-accumulates at sizes that were not measured, exactly, from those that were.

The matrix products of a call make up a polynomial of its sizes whose terms are known, whatever the cell; its
coefficients follow from the recorded counts. Where these don't determine the count at some sizes, it is not known.
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
        """Of a call of each of `sizes`; NaN where the recorded counts leave it open."""
        terms = _terms(sizes)
        scaled = terms / self.scale
        outside = scaled - scaled @ self.known.T @ self.known
        is_known = np.linalg.norm(outside, axis=1) <= EXACT * np.linalg.norm(scaled, axis=1)
        batch = sizes["batch_size"].to_numpy(dtype=float)
        return np.where(is_known, batch * (terms @ self.coefficients), np.nan)


def counts(sizes: pd.DataFrame, macs: Array) -> StepCounts | None:
    """The polynomial through recorded counts; None where they lie on none, as with sequences of unequal lengths."""
    terms, each = _terms(sizes), macs / sizes["batch_size"].to_numpy(dtype=float)
    if not np.isfinite(each).all() or not (each > 0).all():
        return None
    rows = terms / each[:, None]
    scale = np.linalg.norm(rows, axis=0)
    left, singular, right = np.linalg.svd(rows / scale, full_matrices=False)
    rank = int((singular > DEPENDENT * singular[0]).sum())
    found = right[:rank].T @ ((left[:, :rank].T @ np.ones(len(each))) / singular[:rank]) / scale
    if np.abs(rows @ found - 1).max() > EXACT:
        return None
    return StepCounts(found, right[:rank], scale)


def _terms(sizes: pd.DataFrame) -> Array:
    """For one sequence, at each step and once: state by state, input by state, state by what stands still."""
    steps, inputs, hidden = (sizes[axis].to_numpy(dtype=float) for axis in ("seq_len", "input_size", "hidden_size"))
    step = np.stack([hidden**2, inputs * hidden, hidden], axis=1)
    return np.concatenate([steps[:, None] * step, step], axis=1)

"""Shapes of noise for simulations: values with a mean of 0 and a standard deviation of 1."""

import math
from collections.abc import Callable

import numpy as np

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The noise that Student's t test assumes."""
    return rng.standard_normal(shape)


def heavy(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Student's t with three degrees of freedom."""
    return rng.standard_t(3, shape) / math.sqrt(3)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Exponential: often a little below the mean, and sometimes far above it."""
    return rng.exponential(size=shape) - 1


def spoilt(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal, with one value in ten from a spread that is four times as wide."""
    values = rng.standard_normal(shape) + np.where(rng.random(shape) < 0.1, 4 * rng.standard_normal(shape), 0.0)
    return values / math.sqrt(1 + 0.1 * 16)

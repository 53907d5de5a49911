"""Columns of text as categories: a million windows share the text of their case, and files of frames can hold them."""

from collections.abc import Iterable
from typing import get_type_hints

import numpy as np
import pandas as pd

from rnnbench.store.records import AXES, Workload

NUMBERS = tuple(name for name, hint in get_type_hints(Workload).items() if hint in (int, float, bool))
TEXT_AXES = tuple(axis for axis in AXES if axis not in NUMBERS)
CATEGORIES = ("run", "case", *TEXT_AXES, "status", "backend", "bound_by", "ceiling", "worker", "cores", "device_uuid")


def with_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its columns of few texts as categories, in the order in which they appear."""
    return frame.assign(**{name: category(frame[name]) for name in CATEGORIES if name in frame})


def category(values: Iterable[object]) -> pd.Categorical:
    """Texts as categories in the order in which they appear."""
    codes, texts = pd.factorize(pd.Series(values, dtype=object))
    return pd.Categorical.from_codes(codes, categories=pd.Index(texts, dtype=str))


def repeated(categories: pd.Categorical, rows: np.ndarray) -> pd.Categorical:
    """The categories at these rows, which may come more than once; text is not copied."""
    return pd.Categorical.from_codes(categories.codes[rows], dtype=categories.dtype)


def without_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with text in place of categories, which can be compared, filled and put together with any other."""
    names = [name for name, kind in frame.dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
    return frame.assign(**{str(name): frame[name].astype(object) for name in names}) if names else frame

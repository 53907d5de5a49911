"""How many cases are slower or faster than their reference: every sentence and table counts here."""

import pandas as pd

from rnnbench.report.words.precision import is_known


def tally(cases: pd.DataFrame) -> dict[str, int]:
    """Count the cases with a ratio by its 95% interval, without the zeros.

    The fastest case of a group, to which the ratios may be, is left out. `undecided`: the interval includes 1, or
    is too wide.
    """
    cases = cases[cases["ratio"].notna() & ~(cases["ratio_low"].eq(1) & cases["ratio_high"].eq(1))]
    known, has_interval = is_known(cases), cases["ratio_low"].notna()
    slower, faster = known & (cases["ratio_low"] > 1), known & (cases["ratio_high"] < 1)
    masks = {
        "slower": slower,
        "faster": faster,
        "undecided": has_interval & ~slower & ~faster,
        "without an interval": ~has_interval,
    }
    return {word: number for word, mask in masks.items() if (number := int(mask.sum()))}


def known_ratios(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the cases whose ratio may stand in a range or a median: the known ones, or all if none has an interval."""
    return cases[is_known(cases)] if cases["ratio_low"].notna().any() else cases

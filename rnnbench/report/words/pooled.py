"""Cases of very many sizes, pooled to medians over some sizes, for figures that nobody could read otherwise."""

import pandas as pd

from rnnbench.report.words.axes import SETTINGS, SIZES, swept, word

# From what is pooled first to what is kept longest. Ratios depend most on batch and hidden size.
ORDER = ("samples", "workers", "output_size", "input_size", "seq_len", "batch_size", "num_layers", "hidden_size")


def pooled(own: pd.DataFrame, most: int) -> tuple[pd.DataFrame, str]:
    """Pool `own` to at most about `most` rows, with median ratios. Returns these and, in words, what was pooled.

    `own` has the column `series` and no references. The first of the pooled rows stands for all, so an axis that is
    pooled has one value. If there are few rows or a single size, nothing is pooled and the words are empty.
    """
    sizes = swept(own, SIZES)
    over: list[str] = []
    while len(own) > most and len(sizes) > 1:
        axis = min(sizes, key=ORDER.index)
        sizes.remove(axis)
        over.append(axis)
        keys = ["series", "phase", *SETTINGS, *(size for size in SIZES if size not in over)]
        medians = own.groupby(keys, sort=False)["ratio"].transform("median")
        own = own.assign(ratio=medians, **{axis: own[axis].iloc[0]}).drop_duplicates(keys)
    return own, f"median over {' and '.join(map(word, over))}" if over else ""

"""Cases of very many sizes, pooled to medians over some of them, for figures that nobody could read otherwise."""

import pandas as pd

from rnnbench.report.words.axes import SETTINGS, SIZES, swept, word

# From what is pooled first to what is kept longest: batch and hidden size say most of a ratio.
ORDER = ("samples", "workers", "output_size", "input_size", "seq_len", "batch_size", "num_layers", "hidden_size")


def pooled(own: pd.DataFrame, most: int) -> tuple[pd.DataFrame, str]:
    """At most about `most` rows, with the median `ratio` of those that are pooled, and what they are, in words.

    From a frame with `series`, without references. The first of the pooled rows stands for all, so an axis that is
    pooled has one value. Nothing is pooled, and the words are empty, where there are few rows or a single size.
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

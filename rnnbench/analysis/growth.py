"""Which modules take longer from call to call, though the machine does not.

A module that keeps something from each call (a list that grows, a graph that is never freed) has no time of its own:
it depends on how often the module was called. Modules that are timed in turns share the states of the machine, so a
module's turns are compared with those of the others beside them. Medians of blocks of turns bridge states that last
for some turns; an order that has at most two pairs of blocks the wrong way round comes about by chance once in 1,100
times, whatever the noise is like, as long as blocks don't depend on each other.
"""

from collections.abc import Mapping, Sequence

import numpy as np

BLOCKS = 8
TURNS = 3  # of a block
MAX_FALLS = 2, 6  # pairs of the 28 blocks: of the time compared with the others, and of the time itself
LEAST = 0.03  # growth that matters


def growing(turns: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return by what share the time of each module grows that surely grows, from the first block to the last.

    `turns`: each module's seconds per call, turn by turn; the modules take their n-th turns about the same time.
    """
    logs = {name: np.log(np.maximum(seconds, 1e-12)) for name, seconds in turns.items()}
    found = {}
    for name, of_module in logs.items():
        others = [of_other for other, of_other in logs.items() if other != name]
        if not others or len(of_module) < TURNS * BLOCKS:
            continue
        blocks, alone = (
            np.array([np.median(block) for block in np.array_split(series, BLOCKS)])
            for series in (of_module - np.median(others, axis=0), of_module)
        )
        share = float(np.expm1(blocks[-1] - blocks[0]))
        if _falls(blocks) <= MAX_FALLS[0] and _falls(alone) <= MAX_FALLS[1] and share > LEAST:
            found[name] = share
    return found


def _falls(blocks: np.ndarray) -> int:
    """Count the pairs of blocks of which the later one is not larger."""
    return int(np.triu(blocks[None, :] <= blocks[:, None], 1).sum())

"""What the ratios of a run are to: torch.nn's layer, loading item by item, or nothing at all."""

from dataclasses import dataclass

import pandas as pd

from rnnbench.store.records import REFERENCES, is_cell_reference
from rnnbench.text import printable


@dataclass(frozen=True)
class ReferenceWords:
    """Words for the references of a run, and for what is compared with them."""

    name: str
    others: str
    compared: str  # what was compared with what before anything was timed
    has_ratios: bool = True

    @property
    def ratios(self) -> str:
        """What the ratios are, in a sentence."""
        return f"Ratios are time over that of {self.name}." if self.has_ratios else ALONE


ALONE = "Time only: no reference is named, so there are no ratios and nothing was compared."
OUTPUTS = "Outputs and gradients of each cell were compared with those of torch.nn before it was timed"
BATCHES = "The batches of each implementation were compared with those loaded item by item before it was timed"
TORCH = ReferenceWords("torch.nn", "hand-written cells", OUTPUTS)
ITEMS = ReferenceWords("per_item", "other ways to load", BATCHES)
BOTH = ReferenceWords("the reference", "cells and ways to load", f"{OUTPUTS}. {BATCHES}")
ALONE_COMPARED = "There is no reference to compare outputs with"
FASTEST = ReferenceWords("the fastest", "cells", ALONE_COMPARED)
NOTHING = ReferenceWords("no reference", "cells", ALONE_COMPARED, has_ratios=False)


def words(summary: pd.DataFrame) -> ReferenceWords:
    """The words for a run of cells, of data sets, of both, or of cells without a reference.

    Without references, the fastest case of a group is what the others are compared with.
    """
    if len(summary) and (summary["reference"] == "none").all():
        return FASTEST if "ratio" in summary and summary["ratio"].notna().any() else NOTHING
    cells = [reference for reference in summary["reference"].unique() if is_cell_reference(reference)]
    if cells:
        is_only_one = len(cells) == 1 and (summary["reference"] == cells[0]).all()
        name = printable(cells[0]) if is_only_one else "the reference"
        compared = f"Outputs and gradients of each cell were compared with those of {name} before it was timed"
        return ReferenceWords(name, "other cells", compared)
    loads = summary["phase"] == "loading"
    return TORCH if not loads.any() else ITEMS if loads.all() else BOTH


def is_reference(cases: pd.DataFrame) -> "pd.Series[bool]":
    """Boolean mask of the reference rows."""
    return cases["implementation"].isin(REFERENCES)

"""What the ratios of a run are to: torch.nn's layer, or loading item by item."""

from dataclasses import dataclass

import pandas as pd

from rnnbench.store.records import REFERENCES


@dataclass(frozen=True)
class Words:
    """How the references of a run are called, and what is held against them."""

    name: str
    others: str
    key: str  # in names of columns
    compared: str  # what was held against what before anything was timed


OUTPUTS = "Outputs and gradients of each cell were compared with those of torch.nn before it was timed"
BATCHES = "The batches of each way to load were compared with those that come item by item before it was timed"
TORCH = Words("torch.nn", "hand-written cells", "torch_nn", OUTPUTS)
ITEMS = Words("per_item", "other ways to load", "per_item", BATCHES)
BOTH = Words("the reference", "cells and ways to load", "reference", f"{OUTPUTS}. {BATCHES}")


def words(summary: pd.DataFrame) -> Words:
    """The words for a run of cells, of data sets, or of both."""
    loads = summary["phase"] == "loading"
    return TORCH if not loads.any() else ITEMS if loads.all() else BOTH


def is_reference(cases: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows are those that the others of their group are held against."""
    return cases["implementation"].isin(REFERENCES)

"""Caches are cleared between tests, so that no cached result of an earlier test hides a mistake."""

import pytest

from rnnbench.analysis import estimate


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """Clear the caches before every test of this folder."""
    estimate.signed_rank_cut.cache_clear()

"""What is kept between calls is forgotten between tests, so that no mistake hides behind what an earlier test found."""

import pytest

from rnnbench.analysis import estimate
from rnnbench.analysis.scaling import fit


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """Applies to every test of this folder."""
    estimate.signed_rank_cut.cache_clear()
    fit._fit.cache_clear()

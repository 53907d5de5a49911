import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.scaling.held_out import MOST_FOLDS, folds

from . import made_up


@pytest.mark.parametrize(("lengths", "largest"), [([1, 2, 4], 1), ([1, 2, 4, 8, 16, 32, 64, 128], 3)])
def test_each_point_is_held_out_once_among_others_whatever_their_number(lengths: list[int], largest: int) -> None:
    sizes = made_up.summary({("lstm", "loop"): made_up.loop}, steps=lengths)
    points = [fold.out for fold in folds(pd.DataFrame(sizes)) if fold.place == "point"]
    assert len(points) == min(len(sizes), MOST_FOLDS)
    assert (np.sum(points, axis=0) == 1).all()
    assert max(out.sum() for out in points) == largest

from hypothesis import given
from hypothesis import strategies as st

from rnnbench.store.order_statistics import evenly_spaced


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=500))
def test_order_statistics_keep_the_extremes_and_the_order(values: list[float]) -> None:
    ordered = sorted(values)
    points = evenly_spaced(ordered)
    assert len(points) == min(len(ordered), 11)
    assert (points[0], points[-1]) == (ordered[0], ordered[-1])
    assert list(points) == sorted(points)

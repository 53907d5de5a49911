"""Values derived from a machine's best rates."""

import pytest

from tests.doubles.ceilings import ceiling as made_up_ceiling

CEILING = made_up_ceiling("cuda", "float32", 1, 5e10, ((1_000, 3e9), (10_000, 8e10), (100_000, 2e10)), 5e-7, 2e-6)


@pytest.mark.parametrize(
    ("size", "rate"), [(1, 8e10), (1_000, 8e10), (10_000, 8e10), (10_001, 2e10), (100_000, 2e10), (10**9, 2e10)]
)
def test_few_bytes_move_no_slower_than_many(size: int, rate: float) -> None:
    assert CEILING.bytes_per_second(size) == rate


def test_a_step_takes_a_dispatch_or_a_launch_whichever_is_longer() -> None:
    assert CEILING.step_seconds == 2e-6
    assert made_up_ceiling("cpu", "float32", 1, 1.0, ((1, 1.0),), 5e-7, None).step_seconds == 5e-7

"""Windows that no run can have stored."""

from typing import get_type_hints

import numpy as np
import pytest

from rnnbench.store.records import Window
from rnnbench.store.window_checks import LIMITS, repeated


def test_the_limits_of_columns_are_those_of_the_records() -> None:
    hints = get_type_hints(Window, include_extras=True)
    assert {name for name, hint in hints.items() if "Ge(" in str(hint) or "Gt(" in str(hint)} == set(LIMITS)
    for name, (words, _) in LIMITS.items():
        wanted = {"0 or more": "Ge(ge=0)", "1 or more": "Ge(ge=1)", "greater than 0": "Gt(gt=0)"}[words]
        assert wanted in str(hints[name])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([], [], None),
        ([1], [1], None),
        ([1, 1, 2], [1, 2, 1], None),
        ([1, 2, 1], [1, 2, 1], (0, 2)),
        ([5, 3, 3, 5, 5], [0, 0, 0, 0, 0], (1, 2)),
        ([5, 3, 5, 3, 5], [0, 0, 0, 0, 0], (0, 2)),
    ],
)
def test_the_first_row_that_repeats_another_is_found(
    first: list[int], second: list[int], expected: tuple[int, int] | None
) -> None:
    assert repeated(np.array(first, dtype=int), np.array(second, dtype=int)) == expected

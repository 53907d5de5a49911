"""A small part of `python -m tests.validation fuzz`: any file is either read or refused with a message."""

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from rnnbench.errors import UserError
from tests.validation.fuzz.targets import TARGETS

EXAMPLES = {
    "suite files": 150,
    "--only expressions": 150,
    "run folders": 25,
    "compared runs": 25,
    "pytest-benchmark files": 25,
    "what rnnbench writes": 25,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_what_strangers_give_is_read_or_refused_in_words(name: str) -> None:
    strategy, use = TARGETS[name]()

    @settings(
        max_examples=EXAMPLES.get(name, 50),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def try_input(value: Any) -> None:
        with contextlib.suppress(UserError):
            use(value)

    try_input()

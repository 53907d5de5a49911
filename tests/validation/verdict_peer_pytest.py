"""The planted cases under pytest-benchmark; pytest collects this file only if it is named."""

from typing import Any

import pytest

from tests.validation.verdict_peer_cases import bare, cases


@pytest.mark.parametrize("name", list(cases()))
def test_case(benchmark: Any, name: str) -> None:
    """One case."""
    benchmark.extra_info["case"] = name
    benchmark(bare(name))

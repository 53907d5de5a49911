"""The four ratios of `cost`, measured by torch.utils.benchmark and pytest-benchmark.

As a module it prints one JSON object, case key -> seconds; pytest-benchmark collects the test below.
"""

import json
from typing import Any

import pytest

from tests.validation.cases import bare, pairs, timed

SECONDS = 0.5


def with_torch_benchmark() -> dict[str, float]:
    """Medians by torch.utils.benchmark, one case after the other, as its users write it."""
    from torch.utils.benchmark import Timer

    medians = {}
    for case in [case for pair in pairs() for case in pair]:
        call = timed(case)
        with call.mode():
            measured = Timer("call()", globals={"call": call.call}, num_threads=1).blocked_autorange(
                min_run_time=SECONDS
            )
        medians[case.key] = measured.median
    return medians


@pytest.mark.parametrize("index", range(8))
def test_case(benchmark: Any, index: int) -> None:
    """One case under pytest-benchmark."""
    case = [case for pair in pairs() for case in pair][index]
    benchmark.extra_info["case"] = case.key
    benchmark(bare(case))


if __name__ == "__main__":
    print(json.dumps(with_torch_benchmark()))

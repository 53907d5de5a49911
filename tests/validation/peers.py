"""The same four ratios as torch.utils.benchmark and pytest-benchmark give them.

Run as a module, it prints one JSON object, case key -> seconds; pytest-benchmark collects the test below.
"""

import json
from typing import Any

import pytest

from tests.validation.cases import bare, pairs, timed

SECONDS = 0.5


def with_torch_benchmark() -> dict[str, float]:
    """Medians of torch.utils.benchmark, one case after the other, as its users write it."""
    from torch.utils.benchmark import Timer

    found = {}
    for case in [case for pair in pairs() for case in pair]:
        call = timed(case)
        with call.mode():
            measured = Timer("call()", globals={"call": call.call}, num_threads=1).blocked_autorange(
                min_run_time=SECONDS
            )
        found[case.key] = measured.median
    return found


@pytest.mark.parametrize("place", range(8))
def test_case(benchmark: Any, place: int) -> None:
    """One case under pytest-benchmark."""
    case = [case for pair in pairs() for case in pair][place]
    benchmark.extra_info["case"] = case.key
    benchmark(bare(case))


if __name__ == "__main__":
    print(json.dumps(with_torch_benchmark()))

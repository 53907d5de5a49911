"""The same four ratios as other tools give them; run as `python -m tests.validation.peers TOOL` in a fresh process.

Prints one JSON object: case key -> seconds. pytest-benchmark collects the test below, pyperf runs its own processes.
"""

import json
import sys
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


def with_pyperf() -> None:
    """pyperf's own command line, for the first pair; it writes to the file named in its `--output`."""
    import pyperf

    runner = pyperf.Runner(processes=5)
    for case in pairs()[0]:
        runner.bench_func(case.key, bare(case))


@pytest.mark.parametrize("place", range(8))
def test_case(benchmark: Any, place: int) -> None:
    """One case under pytest-benchmark."""
    case = [case for pair in pairs() for case in pair][place]
    benchmark.extra_info["case"] = case.key
    benchmark(bare(case))


if __name__ == "__main__":
    if sys.argv[1] == "torch":
        print(json.dumps(with_torch_benchmark()))
    else:
        with_pyperf()

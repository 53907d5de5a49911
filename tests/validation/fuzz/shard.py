"""`python -m tests.validation.fuzz.shard TARGET INPUTS SEED`: try inputs and print the result as a JSON line."""

import json
import resource
import signal
import sys
import time
import traceback
import warnings
from dataclasses import dataclass
from types import FrameType
from typing import Any

import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings

from rnnbench.errors import UserError
from tests.validation.fuzz.targets import TARGETS

MAX_SECONDS = 10  # CPU time, so that other work on the machine does not count
MAX_WAIT_SECONDS = 120  # wall time: an input that waits for ever uses no CPU time
MAX_BYTES = 500 << 20  # beyond the imports


@dataclass(frozen=True, repr=False)
class Input:
    """An input that hypothesis does not print: it makes a text of every value, and some are long."""

    value: Any


def main(name: str, inputs: int, number: int) -> dict[str, Any]:
    """Try inputs; `faults`: each place in the code that raised anything but UserError, with its shortest input."""
    warnings.simplefilter("error")
    strategy, use = TARGETS[name]()
    before = psutil.Process().memory_info()
    resource.setrlimit(resource.RLIMIT_AS, (before.vms + 2 * MAX_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, _waits_for_ever)
    counts: dict[str, Any] = {"tried": 0, "read": 0, "refused": 0, "seconds": 0.0, "faults": {}}

    @seed(number)
    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy.map(Input))
    def try_input(given_input: Input) -> None:
        value = given_input.value
        counts["tried"] += 1
        started = time.process_time()
        signal.alarm(MAX_WAIT_SECONDS)
        try:
            use(value)
            counts["read"] += 1
        except UserError as refused:
            counts["refused"] += 1
            if not str(refused).strip():
                _keep(counts["faults"], "refused without a word", value)
        except Exception as fault:  # any other exception is a fault
            _keep(counts["faults"], _place(fault), value)
        finally:
            signal.alarm(0)
            seconds = time.process_time() - started
            if seconds > MAX_SECONDS:
                _keep(counts["faults"], f"more than {MAX_SECONDS} s", value)
            counts["seconds"] = max(counts["seconds"], seconds)

    try_input()
    counts["bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before.rss
    if counts["bytes"] > MAX_BYTES:
        counts["faults"][f"{counts['bytes']:,} bytes"] = ""
    return counts


def _place(fault: Exception) -> str:
    """The exception, and its place in rnnbench."""
    frames = [frame for frame in traceback.extract_tb(fault.__traceback__) if "/rnnbench/" in frame.filename]
    where = f" ({frames[-1].filename.rpartition('/rnnbench/')[2]}:{frames[-1].lineno})" if frames else ""
    return f"{type(fault).__name__}: {ascii(str(fault))[:200]}{where}"


def _keep(faults: dict[str, str], place: str, value: Any) -> None:
    faults[place] = min(faults.get(place, ascii(value)), ascii(value), key=len)


def _waits_for_ever(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"an input waited longer than {MAX_WAIT_SECONDS} s")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))

"""`python -m tests.validation.fuzz.shard TARGET INPUTS SEED`: tries inputs; a JSON line says how it went."""

import json
import resource
import signal
import sys
import time
import traceback
import warnings
from types import FrameType
from typing import Any

import psutil
from hypothesis import HealthCheck, Phase, given, seed, settings

from rnnbench.errors import UserError
from tests.validation.fuzz.targets import TARGETS

MAX_SECONDS = 10  # of CPU time, so that other work on the machine does not count
MAX_WAIT_SECONDS = 120  # of wall time: an input that waits for ever uses no CPU time
MAX_BYTES = 500 << 20  # beside what the imports hold


def main(name: str, inputs: int, number: int) -> dict[str, Any]:
    """Try so many inputs; each place in the code that raised something else than UserError, with its shortest input."""
    warnings.simplefilter("error")
    strategy, use = TARGETS[name]()
    before = psutil.Process().memory_info()
    resource.setrlimit(resource.RLIMIT_AS, (before.vms + 2 * MAX_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, _waits_for_ever)
    found: dict[str, Any] = {"tried": 0, "read": 0, "refused": 0, "seconds": 0.0, "faults": {}}

    @seed(number)
    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def one(value: Any) -> None:
        found["tried"] += 1
        started = time.process_time()
        signal.alarm(MAX_WAIT_SECONDS)
        try:
            use(value)
            found["read"] += 1
        except UserError as refused:
            found["refused"] += 1
            if not str(refused).strip():
                _keep(found["faults"], "refused without a word", value)
        except Exception as fault:  # whatever it is, it is what is looked for
            _keep(found["faults"], _place(fault), value)
        finally:
            signal.alarm(0)
            seconds = time.process_time() - started
            if seconds > MAX_SECONDS:
                _keep(found["faults"], f"more than {MAX_SECONDS} s", value)
            found["seconds"] = max(found["seconds"], seconds)

    one()
    found["bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before.rss
    if found["bytes"] > MAX_BYTES:
        found["faults"][f"{found['bytes']:,} bytes"] = ""
    return found


def _place(fault: Exception) -> str:
    """What was raised, and where in rnnbench."""
    frames = [frame for frame in traceback.extract_tb(fault.__traceback__) if "/rnnbench/" in frame.filename]
    where = f" ({frames[-1].filename.rpartition('/rnnbench/')[2]}:{frames[-1].lineno})" if frames else ""
    return f"{type(fault).__name__}: {ascii(str(fault))[:200]}{where}"


def _keep(faults: dict[str, str], place: str, value: Any) -> None:
    faults[place] = min(faults.get(place, ascii(value)), ascii(value), key=len)


def _waits_for_ever(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"an input waited longer than {MAX_WAIT_SECONDS} s")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))

"""`python -m tests.validation fuzz`: files and texts from strangers are either read or refused with a message.

Each kind of input is tried in shards, each a separate process. A shard fails if it takes more memory than `MAX_BYTES`
beyond its imports, or more than `MAX_SECONDS` of CPU time for one input, or raises anything but a UserError.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from tests.validation.fuzz.targets import TARGETS

INPUTS = 100_000
SHARD = 2_000  # inputs of one process, since hypothesis keeps what it has tried
SHOWN = 300  # characters of an input in the table
REPOSITORY = Path(__file__).resolve().parents[3]


def fuzz(share: float = 1.0, only: str = "") -> pd.DataFrame:
    """One row for each kind of input; `share`: part of the full number of inputs."""
    rows = []
    for name in (name for name in TARGETS if only in name):
        shards = list(_shards(name, max(1, round(INPUTS * share))))
        with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)))) as pool:
            results = list(pool.map(_shard, shards))
        faults = {place: value for result in results for place, value in result["faults"].items()}
        rows.append(
            {
                "input": name,
                "tried": sum(result["tried"] for result in results),
                "read": sum(result["read"] for result in results),
                "refused in words": sum(result["refused"] for result in results),
                "faults": len(faults),
                "longest (s)": max(result["seconds"] for result in results),
                "most memory (MB)": max(result["bytes"] for result in results) / 1e6,
                "what": "; ".join(f"{place}: {value[:SHOWN]}" for place, value in faults.items()),
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def _shards(name: str, inputs: int) -> Iterator[tuple[str, int, int]]:
    for seed, first in enumerate(range(0, inputs, SHARD)):
        yield name, min(SHARD, inputs - first), seed


def _shard(shard: tuple[str, int, int]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.validation.fuzz.shard", *map(str, shard)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    try:
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        fault = f"seed {shard[2]}: exit code {done.returncode}: {done.stderr[-500:]}"
        return {"tried": 0, "read": 0, "refused": 0, "seconds": 0.0, "bytes": 0, "faults": {fault: ""}}
    return result

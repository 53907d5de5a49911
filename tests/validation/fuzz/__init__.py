"""`python -m tests.validation fuzz`: files and words from strangers, each read or refused in words.

Each kind of input is tried in shards, in processes of their own: one that takes more memory than `MAX_BYTES` beside
what its imports hold, or more than `MAX_SECONDS` of CPU time for one input, or raises anything but a UserError, has
failed.
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
SHARD = 10_000
SHOWN = 300  # characters of an input that is told
REPOSITORY = Path(__file__).resolve().parents[3]


def fuzz(share: float = 1.0, only: str = "") -> pd.DataFrame:
    """One row for each kind of input; `share` of the full number of inputs."""
    rows = []
    for name in (name for name in TARGETS if only in name):
        shards = list(_shards(name, max(1, round(INPUTS * share))))
        with ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)))) as pool:
            found = list(pool.map(_shard, shards))
        faults = {place: value for one in found for place, value in one["faults"].items()}
        rows.append(
            {
                "input": name,
                "tried": sum(one["tried"] for one in found),
                "read": sum(one["read"] for one in found),
                "refused in words": sum(one["refused"] for one in found),
                "faults": len(faults),
                "longest (s)": max(one["seconds"] for one in found),
                "most memory (MB)": max(one["bytes"] for one in found) / 1e6,
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
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        fault = f"seed {shard[2]}: exit code {done.returncode}: {done.stderr[-500:]}"
        return {"tried": 0, "read": 0, "refused": 0, "seconds": 0.0, "bytes": 0, "faults": {fault: ""}}
    return found

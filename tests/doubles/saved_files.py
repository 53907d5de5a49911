"""Files as pytest-benchmark writes them, made for tests with known times and without starting a process."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnbench.report.export import stats

MACHINE = {
    "node": "builder-7",
    "machine": "x86_64",
    "python_implementation": "CPython",
    "python_version": "3.12.4",
    "cpu": {"brand_raw": "A Processor", "count": 8, "hz_actual_friendly": "2.6 GHz"},
}


def benchmark(
    name: str,
    rounds: Sequence[float],
    *,
    group: str | None = None,
    extra: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One benchmark without its data, as `--benchmark-autosave` saves it; its name ends with its parameters."""
    param = "-".join(map(str, params.values())) if params else None
    name = f"{name}[{param}]" if param else name
    figures = {key: value for key, value in stats(rounds).items() if key != "data"}
    return {
        "group": group,
        "name": name,
        "fullname": f"bench.py::{name}",
        "params": dict(params) if params else None,
        "param": param,
        "extra_info": dict(extra or {}),
        "options": {"disable_gc": False, "timer": "perf_counter"},
        "stats": figures | {"iterations": 1},
    }


def content(benchmarks: Sequence[Mapping[str, Any]], **changes: Any) -> dict[str, Any]:
    """The content of a file."""
    return {
        "machine_info": MACHINE,
        "commit_info": {"id": "0123456789abcdef", "dirty": False},
        "benchmarks": list(benchmarks),
        "datetime": "2026-01-01T12:00:00+00:00",
        "version": "5.1.0",
    } | changes


def write(path: Path, benchmarks: Sequence[Mapping[str, Any]], **changes: Any) -> Path:
    """Write a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content(benchmarks, **changes)), encoding="utf-8")
    return path


def side(
    folder: Path, times: Mapping[str, Sequence[float]], *, hours: Sequence[int] = (), group: str = "all", **changes: Any
) -> Path:
    """A folder of files: `times[name][number]` is the time of every round of a benchmark in file `number`."""
    for number in range(max(map(len, times.values()))):
        hour = hours[number] if hours else number
        benchmarks = [benchmark(name, [seconds[number]] * 5, group=group) for name, seconds in times.items()]
        write(folder / f"{number:04d}.json", benchmarks, datetime=f"2026-01-01T{hour:02d}:00:00+00:00", **changes)
    return folder

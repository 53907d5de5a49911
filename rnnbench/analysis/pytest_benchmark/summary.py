"""pytest-benchmark's files: times and ratios with intervals over processes.

A process's time of a benchmark is the lower quartile of its rounds, the lowest quantile that every file has, with or
without its data; noise only adds time. Rounds of one process share what differs from process to process, so they give
no interval of their own: it is over processes, and there is none for a single file.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rnnbench.analysis.estimate import as_ratio, estimate_columns, estimates_of
from rnnbench.errors import UserError
from rnnbench.store.pytest_benchmark import BenchmarkFiles
from rnnbench.text import first_few

NAMED = 5  # benchmarks that an error names
Value = Literal["low", "mean"]


@dataclass(frozen=True)
class Sample:
    """Logarithms from each process: of a benchmark's time, or of its ratio to the reference in that process."""

    low: tuple[float, ...]
    mean: tuple[float, ...]


def summarize(saved: BenchmarkFiles, reference: str | None = None) -> pd.DataFrame:
    """One row for each benchmark, in the order of the files.

    - `benchmark` (its fullname), `group`, `name`; `is_reference`, and `reference`, the name of its reference or "";
    - `processes` it was in, `rounds` in all of them;
    - `seconds`, `seconds_low`, `seconds_high`: time per call and its 95% interval over processes, NaN for one process;
    - `rounds_low_seconds`, `rounds_high_seconds`: quartiles of a process's rounds, median over processes;
    - `mean_seconds`: mean over rounds, and over processes;
    - `ratio`, `ratio_low`, `ratio_high`: time over that of the group's reference, taken within each process.

    `reference` is as in `chosen`, which raises UserError if it fits no benchmark, or two of one group.
    """
    references = chosen(saved, reference)
    bases = {key: references.get(benchmark.group) for key, benchmark in saved.benchmarks.items()}
    times = estimates_of([sample(saved, key, None).low for key in bases])
    ratios = estimates_of([sample(saved, key, base).low if base else () for key, base in bases.items()])
    rows = []
    for (key, benchmark), time, ratio in zip(saved.benchmarks.items(), times, ratios, strict=True):
        processes = [session.rounds[key] for session in saved.sessions if key in session.rounds]
        base = bases[key]
        rows.append(
            {
                "benchmark": key,
                "group": benchmark.group,
                "name": benchmark.name,
                "is_reference": key == base,
                "reference": saved.benchmarks[base].name if base else "",
                "processes": len(processes),
                "rounds": sum(rounds.number for rounds in processes),
                **estimate_columns("seconds", as_ratio(time)),
                "rounds_low_seconds": pd.Series([rounds.low for rounds in processes]).median(),
                "rounds_high_seconds": pd.Series([rounds.high for rounds in processes]).median(),
                "mean_seconds": sum(rounds.mean for rounds in processes) / len(processes),
                **estimate_columns("ratio", as_ratio(ratio)),
            }
        )
    return pd.DataFrame(rows)


def chosen(saved: BenchmarkFiles, reference: str | None) -> dict[str, str]:
    """The key of each group's reference, if it has one.

    `reference` is the name or the fullname of a benchmark, `PARAMETER=VALUE`, or a pattern of any of them, in which `*`
    stands for any text. Without it, the reference of a group is torch.nn's case, if the group has exactly one.
    Raises UserError if `reference` fits no benchmark, or two of one group.
    """
    fits = _fits(saved, reference) if reference is not None else _torch_cases(saved)
    keys: dict[str, list[str]] = {}
    for key in fits:
        keys.setdefault(saved.benchmarks[key].group, []).append(key)
    for group, own in keys.items():
        if reference is not None and len(own) > 1:
            raise UserError(
                f"reference {reference}: fits {len(own):,} benchmarks of group {group!r}: "
                f"{first_few(own, NAMED)}; name one of them, or make groups that have one each"
            )
    return {group: own[0] for group, own in keys.items() if len(own) == 1}


def _torch_cases(saved: BenchmarkFiles) -> list[str]:
    """The keys of the cases of torch.nn's own layers."""
    return [key for key, benchmark in saved.benchmarks.items() if benchmark.case and benchmark.case.is_reference]


def _fits(saved: BenchmarkFiles, reference: str) -> list[str]:
    """The keys of the benchmarks that `reference` names: exactly, or if it names none so, as a pattern."""
    words = {
        key: {benchmark.name, key, *(f"{name}={value}" for name, value in benchmark.params.items())}
        for key, benchmark in saved.benchmarks.items()
    }
    if exact := [key for key, own in words.items() if reference in own]:
        return exact
    pattern = re.compile(".*".join(map(re.escape, reference.split("*"))), re.DOTALL)
    if fits := [key for key, own in words.items() if any(map(pattern.fullmatch, own))]:
        return fits
    names = list(dict.fromkeys(benchmark.name for benchmark in saved.benchmarks.values()))
    raise UserError(f"reference {reference}: {saved.name} has no such benchmark; it has {first_few(names, NAMED)}")


def sample(saved: BenchmarkFiles, key: str, reference: str | None) -> Sample:
    """The times of a benchmark in each process, or its ratios to a reference in the same process."""
    sessions = [
        session
        for session in saved.sessions
        if key in session.rounds and (reference is None or reference in session.rounds)
    ]

    def logs(value: Value) -> tuple[float, ...]:
        return tuple(
            math.log(getattr(session.rounds[key], value))
            - (math.log(getattr(session.rounds[reference], value)) if reference is not None else 0.0)
            for session in sessions
        )

    return Sample(logs("low"), logs("mean"))

"""Groups of pytest-benchmark's benchmarks, as its option `--benchmark-group-by` makes them."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from rnnbench.errors import UserError
from rnnbench.store.pytest_benchmark import Benchmark, BenchmarkFiles
from rnnbench.text import nearest

PARAM = "param:"  # followed by a parameter's name
LABELS: Mapping[str, Callable[[Benchmark], str]] = {
    "group": lambda benchmark: benchmark.group,
    "name": lambda benchmark: benchmark.name,
    "func": lambda benchmark: benchmark.name.partition("[")[0],
    "fullname": lambda benchmark: benchmark.key,
    "fullfunc": lambda benchmark: benchmark.key.partition("[")[0],
    "param": lambda benchmark: benchmark.param,
}


def grouped(saved: BenchmarkFiles, by: str | None) -> BenchmarkFiles:
    """The same benchmarks in other groups; without `by` as they are.

    `by` is one of `LABELS`, or `param:NAME`, or several of them with commas between: then benchmarks of one group
    are equal in all. A benchmark that lacks a parameter is grouped by the rest. Raises UserError for another word, or a
    parameter that no benchmark has.
    """
    if by is None:
        return saved
    labels = [_label(saved, word.strip()) for word in by.split(",")]
    benchmarks = {
        key: replace(benchmark, group=" ".join(filter(None, (label(benchmark) for label in labels))))
        for key, benchmark in saved.benchmarks.items()
    }
    return replace(saved, benchmarks=benchmarks)


def _label(saved: BenchmarkFiles, word: str) -> Callable[[Benchmark], str]:
    """What a word of `by` says of a benchmark; empty if nothing."""
    if word in LABELS:
        return LABELS[word]
    if not word.startswith(PARAM):
        raise UserError(
            f"group by {word!r}: expected {', '.join(LABELS)} or {PARAM}NAME, or several of them with commas between"
            f"{nearest(word, LABELS)}"
        )
    name = word.removeprefix(PARAM)
    known = parameters(saved)
    if name not in known:
        has = f"its parameters are {', '.join(known)}" if known else "it has none"
        raise UserError(f"group by {word!r}: no benchmark of {saved.name} has a parameter {name!r}; {has}")
    return lambda benchmark: f"{name}={benchmark.params[name]}" if name in benchmark.params else ""


def parameters(saved: BenchmarkFiles) -> list[str]:
    """The names of all benchmarks' parameters, in the order of the file."""
    return list(dict.fromkeys(name for benchmark in saved.benchmarks.values() for name in benchmark.params))

"""pytest-benchmark's files: groups, times and ratios with intervals over processes, and two sides against each other.

A process's time of a benchmark is the lower quartile of its rounds, the lowest quantile that every file has, with or
without its data; noise only adds time. Rounds of one process share what differs from process to process, so they give
no interval of their own: it is over processes, and there is none for a single file.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from typing import Literal

import pandas as pd

from rnnbench.analysis.comparison import Comparison, Finding, Subject, changes, one_sided, ordered, timed, with_counts
from rnnbench.analysis.environments import identity_differences
from rnnbench.analysis.estimate import MIN_TO_TRIM, as_ratio, estimate_columns, estimates_of, shift
from rnnbench.analysis.stored import TOO_FEW, look_at_runs
from rnnbench.analysis.verdict import Judged, Trial, located
from rnnbench.errors import UserError
from rnnbench.store.pytest_benchmark import Benchmark, BenchmarkFiles
from rnnbench.text import first_few, nearest

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


MIN_PROCESSES = MIN_TO_TRIM  # processes on each side for a verdict; among fewer, a single bad one decides
MIN_TURNS = 5  # stretches of one side's processes in the order of time; with fewer, times are not compared
UNFAIR = "measured without a reference and not in turns: the machine may have changed in between"
UNDECIDED = "more processes of each side would tell"


@dataclass(frozen=True)
class BenchmarkPair:
    """What is known about one benchmark on both sides."""

    base: Sample
    head: Sample
    is_ratio: bool  # to a reference in the same process

    @property
    def numbers(self) -> tuple[int, int]:
        """Processes of the base and of the head."""
        return len(self.base.low), len(self.head.low)


def compare(base: BenchmarkFiles, head: BenchmarkFiles, margin: float, reference: str | None = None) -> Comparison:
    """One finding for each benchmark that is on both sides, except the references.

    A verdict about time needs `MIN_PROCESSES` processes on each side. If no reference was in the same process, the
    sides must have taken turns: otherwise what the machine did in between would count as a change.
    Raises UserError if no benchmark is on both sides.
    """
    references = (chosen(base, reference), chosen(head, reference))
    common = [key for key in head.benchmarks if key in base.benchmarks and not _is_reference(key, head, references[1])]
    if not common:
        raise UserError(f"{base.name} and {head.name} have no benchmark with the same fullname")
    names = _subjects(base, head)
    if apart := _differences(base, head):
        findings = [Finding(names[key], "incomparable", margin, apart) for key in common]
    else:
        findings = _judged(base, head, common, margin, references, names)
    for side, other, where in ((base, head, "in the base"), (head, base, "in the head")):
        findings += one_sided((names[key] for key in side.benchmarks if key not in other.benchmarks), where)
    return Comparison("pytest-benchmark", base.describes, head.describes, "saved", ordered(findings), _notes(base))


def in_turns(base: BenchmarkFiles, head: BenchmarkFiles) -> bool:
    """Whether the sides' processes alternate in time so often that a drift affects both alike."""
    starts = [(session.started, 0) for session in base.sessions] + [(session.started, 1) for session in head.sessions]
    return 1 + sum(before[1] != after[1] for before, after in pairwise(sorted(starts))) >= MIN_TURNS


def _judged(
    base: BenchmarkFiles,
    head: BenchmarkFiles,
    keys: list[str],
    margin: float,
    references: tuple[dict[str, str], dict[str, str]],
    names: Mapping[str, Subject],
) -> list[Finding]:
    """The findings from times and counts, for sides that can be compared."""
    is_fair = in_turns(base, head)
    pairs, reasons = {}, {}
    for key in keys:
        reference = _beside(key, base, head, references)
        pairs[key] = BenchmarkPair(sample(base, key, reference), sample(head, key, reference), reference is not None)
        min_processes = 1 if head.is_exported else MIN_PROCESSES  # a run's replicates are judged as the run is
        reasons[key] = _undecidable(pairs[key], min_processes, is_fair or pairs[key].is_ratio)
    judged = _verdicts(pairs, reasons, margin, of_runs=head.is_exported)
    findings = []
    for key in keys:
        counts = changes(base.benchmarks[key].metrics, head.benchmarks[key].metrics)
        times = judged.get(key)
        if times is None:
            findings.append(Finding(names[key], "undecided", margin, "never in one process with its reference"))
            continue
        finding = timed(names[key], times, margin, min(pairs[key].numbers), counts, undecidable=reasons[key])
        if finding.verdict == "undecided" and not finding.reason:
            finding = replace(finding, reason=UNDECIDED if finding.has_interval else TOO_FEW)
        findings.append(with_counts(finding))
    return findings


def _verdicts(
    pairs: Mapping[str, BenchmarkPair], reasons: Mapping[str, str], margin: float, *, of_runs: bool
) -> dict[str, Judged]:
    """The verdicts of the tests; benchmarks that can't get a verdict are not tested together with those that can.

    `of_runs`: the files are runs of rnnbench that were exported, so the variation between runs is part of the errors.
    """
    trials = [Trial(dict.fromkeys(pairs, margin)) for _ in range(2)]
    for is_ratio in (True, False):  # noise differs between the two, so neither lends strength to the other
        alike = {key: pair for key, pair in pairs.items() if pair.is_ratio == is_ratio and all(pair.numbers)}
        shifts = []
        for value in (attrgetter("low"), attrgetter("mean")):
            base, head = (
                located({key: value(side(pair)) for key, pair in alike.items()})
                for side in (attrgetter("base"), attrgetter("head"))
            )
            shifts.append({key: shift(base[key], head[key]) for key in alike})
        trial_of = {key: trials[bool(reasons[key])] for key in alike}
        if of_runs:
            look_at_runs(trial_of, *shifts)
            continue
        low, mean = shifts
        for key, trial in trial_of.items():
            trial.look(key, low[key], mean[key])
    return {key: verdict for trial in trials for key, verdict in trial.verdicts().items()}


def _beside(
    key: str, base: BenchmarkFiles, head: BenchmarkFiles, references: tuple[dict[str, str], dict[str, str]]
) -> str | None:
    """The reference that a benchmark has on both sides."""
    keys = {by_group.get(side.benchmarks[key].group) for side, by_group in zip((base, head), references, strict=True)}
    return keys.pop() if len(keys) == 1 else None


def _undecidable(pair: BenchmarkPair, min_processes: int, is_fair: bool) -> str:
    """Why there can be no verdict about time; empty if there can."""
    then, now = pair.numbers
    if min(then, now) < min_processes:
        needed = f"a verdict takes {min_processes} processes a side"
        return f"{needed}, and here are {then} and {now}; rounds of one don't count"
    return "" if is_fair else UNFAIR


def _is_reference(key: str, saved: BenchmarkFiles, references: Mapping[str, str]) -> bool:
    return references.get(saved.benchmarks[key].group) == key


def _subjects(*sides: BenchmarkFiles) -> dict[str, Subject]:
    """The subjects of findings: cases if all benchmarks have their axes, else the benchmarks."""
    benchmarks: dict[str, Benchmark] = {key: benchmark for side in sides for key, benchmark in side.benchmarks.items()}
    if all(benchmark.case for benchmark in benchmarks.values()):
        return {key: benchmark.case for key, benchmark in benchmarks.items() if benchmark.case}
    return dict(benchmarks)


def _differences(base: BenchmarkFiles, head: BenchmarkFiles) -> str:
    if base.is_exported != head.is_exported:
        return "one side was exported by rnnbench, whose rounds are replicates, and the other was not"
    if identity := identity_differences(base.processor, head.processor, ("the base", "the head")):
        return "; ".join(identity)
    apart = (key for key in base.machine if base.machine[key] != head.machine[key])
    return "; ".join(f"{key} was {base.machine[key]!r} and is {head.machine[key]!r}" for key in apart)


def _notes(base: BenchmarkFiles) -> tuple[str, ...]:
    kind = "replicates, each of a fresh process" if base.is_exported else "files, each of one process"
    return (f"Intervals are over {kind}. What differs from day to day or machine to machine is not in them.",)

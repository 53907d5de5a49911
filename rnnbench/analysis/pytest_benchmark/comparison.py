"""Two sides of pytest-benchmark's files against each other: a verdict if the data allows one, else the reason."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter

from rnnbench.analysis.changes import changes
from rnnbench.analysis.comparison import Comparison, Finding, Subject, one_sided, ordered, timed, with_counts
from rnnbench.analysis.environments import identity_differences
from rnnbench.analysis.location import MIN_TO_TRIM, shift
from rnnbench.analysis.pytest_benchmark.summary import Sample, chosen, sample
from rnnbench.analysis.run_to_run import TOO_FEW, look_at_runs
from rnnbench.analysis.verdict import Judged, Trial, located
from rnnbench.errors import UserError
from rnnbench.store.pytest_benchmark import Benchmark, BenchmarkFiles

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

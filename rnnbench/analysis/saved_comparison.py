"""Two sides of pytest-benchmark's files against each other: a verdict where they hold one, and the reason where not."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

from rnnbench.analysis.changes import changes
from rnnbench.analysis.comparison import Comparison, Finding, Subject, one_sided, ordered, with_counts
from rnnbench.analysis.location import MIN_TO_TRIM, shift
from rnnbench.analysis.saved import Sample, chosen, sample
from rnnbench.analysis.verdict import Judged, Trial, located
from rnnbench.errors import UserError
from rnnbench.store.pytest_benchmark import Benchmark, Saved

MIN_PROCESSES = MIN_TO_TRIM  # processes a side for a verdict; of fewer, a single bad one decides
MIN_TURNS = 5  # stretches of processes of one side in the order of time, for times of two sides to be compared
UNFAIR = "measured without a reference and not in turns: the machine may have changed in between"
UNDECIDED = "more processes of each side would tell"


@dataclass(frozen=True)
class BenchmarkPair:
    """What both sides know of one benchmark."""

    base: Sample
    head: Sample
    is_ratio: bool  # to a reference in the same process

    @property
    def numbers(self) -> tuple[int, int]:
        """Processes of the base and of the head."""
        return len(self.base.low), len(self.head.low)


def compare(base: Saved, head: Saved, margin: float, reference: str | None = None) -> Comparison:
    """One finding for each benchmark of both sides but the references.

    A verdict of time needs `MIN_PROCESSES` processes on each side. Where no reference was in the same process, the
    sides must have taken turns: otherwise what the machine did in between would count as a change.
    Raises UserError if no benchmark is on both sides.
    """
    references = (chosen(base, reference), chosen(head, reference))
    both = [key for key in head.benchmarks if key in base.benchmarks and not _is_reference(key, head, references[1])]
    if not both:
        raise UserError(f"{base.name} and {head.name} have no benchmark with the same fullname")
    names = _subjects(base, head)
    if apart := _differences(base, head):
        findings = [Finding(names[key], "incomparable", margin, apart) for key in both]
    else:
        findings = _judged(base, head, both, margin, references, names)
    for side, other, where in ((base, head, "in the base"), (head, base, "in the head")):
        findings += one_sided((names[key] for key in side.benchmarks if key not in other.benchmarks), where)
    return Comparison("pytest-benchmark", base.describes, head.describes, "saved", ordered(findings), _notes(base))


def in_turns(base: Saved, head: Saved) -> bool:
    """Whether the sides' processes alternate in time often enough that what drifts meets both alike."""
    taken = sorted([(one.started, 0) for one in base.sessions] + [(one.started, 1) for one in head.sessions])
    return 1 + sum(one[1] != other[1] for one, other in pairwise(taken)) >= MIN_TURNS


def _judged(
    base: Saved,
    head: Saved,
    keys: list[str],
    margin: float,
    references: tuple[dict[str, str], dict[str, str]],
    names: Mapping[str, Subject],
) -> list[Finding]:
    """The findings of times and counts, where the two can be compared."""
    is_fair = in_turns(base, head)
    pairs, reasons = {}, {}
    for key in keys:
        beside = _beside(key, base, head, references)
        pairs[key] = BenchmarkPair(sample(base, key, beside), sample(head, key, beside), beside is not None)
        fewest = 1 if head.is_exported else MIN_PROCESSES  # a run's replicates are judged as the run is
        reasons[key] = _undecidable(pairs[key], fewest, is_fair or pairs[key].is_ratio)
    judged = _verdicts(pairs, reasons, margin)
    findings = []
    for key in keys:
        differ = changes(base.benchmarks[key].metrics, head.benchmarks[key].metrics)
        one = judged.get(key)
        if one is None:
            findings.append(Finding(names[key], "inconclusive", margin, "never in one process with its reference"))
            continue
        verdict = "inconclusive" if reasons[key] else one.verdict
        reason = reasons[key] or (UNDECIDED if verdict == "inconclusive" else "")
        count = min(pairs[key].numbers)
        found = Finding(names[key], verdict, margin, reason, one.low, one.mean, count, differ, verdict)
        findings.append(with_counts(found))
    return findings


def _verdicts(pairs: Mapping[str, BenchmarkPair], reasons: Mapping[str, str], margin: float) -> dict[str, Judged]:
    """What the tests say; benchmarks that can get no verdict are no hypotheses beside those that can."""
    trials = [Trial(dict.fromkeys(pairs, margin)) for _ in range(2)]
    for is_ratio in (True, False):  # noise differs between the two, so neither lends strength to the other
        alike = {key: one for key, one in pairs.items() if one.is_ratio == is_ratio and all(one.numbers)}
        places = [
            located({key: value(side(one)) for key, one in alike.items()})
            for value in (attrgetter("low"), attrgetter("mean"))
            for side in (attrgetter("base"), attrgetter("head"))
        ]
        for key in alike:
            low, low_now, mean, mean_now = (place[key] for place in places)
            trials[bool(reasons[key])].look(key, shift(low, low_now), shift(mean, mean_now))
    return {key: one for trial in trials for key, one in trial.verdicts().items()}


def _beside(key: str, base: Saved, head: Saved, references: tuple[dict[str, str], dict[str, str]]) -> str | None:
    """The reference that a benchmark has on both sides."""
    found = {chosen.get(side.benchmarks[key].group) for side, chosen in zip((base, head), references, strict=True)}
    return found.pop() if len(found) == 1 else None


def _undecidable(pair: BenchmarkPair, fewest: int, is_fair: bool) -> str:
    """Why there can be no verdict of time; empty where there can."""
    then, now = pair.numbers
    if min(then, now) < fewest:
        return f"a verdict takes {fewest} processes a side, and here are {then} and {now}; rounds of one don't count"
    return "" if is_fair else UNFAIR


def _is_reference(key: str, saved: Saved, references: Mapping[str, str]) -> bool:
    return references.get(saved.benchmarks[key].group) == key


def _subjects(*sides: Saved) -> dict[str, Subject]:
    """What findings speak of: cases where all have their axes, else benchmarks by their names."""
    all_of_them: dict[str, Benchmark] = {key: one for side in sides for key, one in side.benchmarks.items()}
    if all(one.case for one in all_of_them.values()):
        return {key: one.case for key, one in all_of_them.items() if one.case}
    return dict(all_of_them)


def _differences(base: Saved, head: Saved) -> str:
    if base.is_exported != head.is_exported:
        return "one side was exported by rnnbench, whose rounds are replicates, and the other was not"
    apart = (key for key in base.machine if base.machine[key] != head.machine[key])
    return "; ".join(f"{key} was {base.machine[key]!r} and is {head.machine[key]!r}" for key in apart)


def _notes(base: Saved) -> tuple[str, ...]:
    kind = "replicates, each of a fresh process" if base.is_exported else "files, each of one process"
    return (f"Intervals are over {kind}. What differs from day to day or machine to machine is not in them.",)

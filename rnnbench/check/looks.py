"""How many pairs of workers a check takes, and when it looks at what they show."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import median

from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.pairs import PairRatio, locations_of, logs_of, pairs_together, without_blind
from rnnbench.analysis.stored import MAX_TIMES, times_as_many
from rnnbench.analysis.verdict import LOOK_CONFIDENCE, Trial, share_of_look
from rnnbench.check.paired import PairedRunner
from rnnbench.harness.turns.schedule import Progress
from rnnbench.store.records import Case, Group
from rnnbench.suite.outline import cases_of, is_compared, with_cases
from rnnbench.text import plural, rounded_up

# Pairs of workers before the first look. A case whose processes are in one of two modes at random looks slower in all
# of n pairs with a chance of 1/4^n. With four pairs, 5% of suites with six such cases had a false alarm.
MIN_PAIRS = 6
# The same for the cases of a changed definition together, whose mean few cases with two modes do not lead.
MIN_PAIRS_TOGETHER = 5
# Pairs before a case may be `unchanged`: if half of the head's processes are slow, n pairs miss them all with a chance
# of 1/2^n. With four pairs, 8% of such cases were `unchanged`; with eight, 1% are.
MIN_PAIRS_FOR_UNCHANGED = 8
LOOK_GROWTH = 1.3  # of the number of pairs from look to look
PAIRS_TO_CHOOSE = 2  # before the slowest cases are chosen, if there is no time for all


def without(groups: Sequence[Group], keys: Collection[str]) -> list[Group]:
    """Return the groups without the cases that have these keys."""
    return with_cases(groups, lambda case: case.key not in keys)


def measure(
    runner: PairedRunner,
    groups: Sequence[Group],
    trial: Trial,
    budget_seconds: float,
    on_progress: Callable[[Progress], None],
    *,
    share: float = 1.0,
) -> None:
    """Add pairs until each observed case is decided or the budget is spent; `share`: of the error rate.

    A case is looked at after 6, 8, 11, 15, 20, ... pairs and at the end, the cases of a changed definition together
    after 5, 7, 10, 13, ... A look after every pair would spend part of the error rate on almost the same data again. If
    the budget is not enough for all cases, those that look slowest after two pairs come first; the others count among
    the tests all the same.
    """
    looks = _Looks(runner, trial, share)

    def tell(done: int) -> None:
        seconds_left = budget_seconds - runner.seconds
        on_progress(
            Progress(runner.replicates + 1, done, len(timed), max(0.0, seconds_left) if runner.replicates else None)
        )

    groups = to_compare(runner, groups)
    trial.looks |= {case.key: [] for case in cases_of(groups)}
    while timed := worth_a_pair(runner, groups, budget_seconds - runner.seconds):
        runner.replicate(timed, budget_seconds - runner.seconds, tell)
        groups = to_compare(runner, groups)
        looks.take(cases_of(groups), growth=LOOK_GROWTH)
        groups = without(groups, trial.decided())
    looks.take(cases_of(groups))


class _Looks:
    """The looks at the pairs so far: at each case that is not decided, and at families of such cases."""

    def __init__(self, runner: PairedRunner, trial: Trial, share: float) -> None:
        self._runner = runner
        self._trial = trial
        self._share = share
        self._confidence = 1 - (1 - LOOK_CONFIDENCE) * share
        self._seen = Counter[str]()  # of each case, and of each family: its pairs at the last look

    def take(self, cases: Sequence[Case], growth: float = 1.0) -> None:
        """Look at the cases, and at their families, that have enough new pairs: `growth` times those of the last look.

        Any new pair is enough without it.
        """
        pairs_left = {case.key: pairs_of(self._runner, case) for case in cases}
        of_families = {
            name: max(pairs_left.get(key, 0) for key in members) for name, members in self._trial.families.items()
        }
        due = [key for key, pairs in pairs_left.items() if self._is_due(key, pairs, MIN_PAIRS, growth)]
        together = [
            name for name, pairs in of_families.items() if self._is_due(name, pairs, MIN_PAIRS_TOGETHER, growth)
        ]
        if due or together:
            ratios = without_blind(self._runner.ratios)
            self._at_families(together, ratios)
            self._at_cases(due, ratios)
            self._seen.update({name: of_families[name] - self._seen[name] for name in together})
            self._seen.update({key: pairs_left[key] - self._seen[key] for key in due})

    def _is_due(self, name: str, pairs: int, least: int, growth: float) -> bool:
        seen = self._seen[name]
        return pairs >= max(math.ceil(growth * seen), seen + 1, least)

    def _at_families(self, names: Sequence[str], ratios: Mapping[str, Sequence[PairRatio]]) -> None:
        for name in names:
            members = {key: ratios[key] for key in self._trial.families[name] if key in ratios}
            if pairs := pairs_together(members, MIN_PAIRS_TOGETHER):
                members_at = locations_of(pairs.members)
                self._trial.look_at_family(
                    name,
                    pairs.low,
                    pairs.mean,
                    {key: (member.low, member.mean) for key, member in members_at.items()},
                    self._share * share_of_look(1 + len(self._trial.family_looks.get(name, ()))),
                    confidence=self._confidence,
                    state=pairs.state,
                )

    def _at_cases(self, keys: Sequence[str], ratios: Mapping[str, Sequence[PairRatio]]) -> None:
        # Decided cases are included: they still show how noisy cases are.
        logs = {key: logs_of(case_ratios, MIN_PAIRS) for key, case_ratios in ratios.items()}
        where = locations_of(logs)
        for key in keys:
            self._trial.look(
                key,
                where[key].low,
                where[key].mean,
                self._share * share_of_look(1 + len(self._trial.looks[key])),
                confidence=self._confidence,
                may_be_unchanged=len(logs[key].low) >= MIN_PAIRS_FOR_UNCHANGED,
                state=logs[key].state,
            )


def to_compare(runner: PairedRunner, groups: Sequence[Group]) -> list[Group]:
    """Return the groups without the cases that failed, and without those of which only the reference is left."""
    compared_groups = [group for group in groups if is_compared(group, runner.failed)]
    return with_cases(compared_groups, lambda case: not runner.failed(case))


def worth_a_pair(runner: PairedRunner, groups: Sequence[Group], seconds_left: float) -> Sequence[Group]:
    """Return the groups to time in another pair; empty if none of their cases can be decided in the seconds left.

    So no pair is begun if the budget is too short for the fewest pairs of any case. These are all cases, or those that
    look slowest, if there is no time for the fewest pairs of all. Cases that have more pairs come first, so that no
    pair is wasted.
    """

    def order(case: Case) -> tuple[int, float]:
        ratios = runner.ratios.get(case.key)
        if not ratios:
            return 1, 0.0
        slower = max(median(ratio.low for ratio in ratios), median(ratio.mean for ratio in ratios))
        return min(len(ratios), MIN_PAIRS), slower

    cases = sorted(cases_of(groups), key=order, reverse=True)
    if cases and runner.replicates < PAIRS_TO_CHOOSE:
        slowest = with_cases(groups, lambda case: case == cases[0])
        later = (MIN_PAIRS - PAIRS_TO_CHOOSE) * runner.expected_seconds(slowest)
        if runner.expected_seconds(groups) + later <= seconds_left:
            return groups
    for number in range(len(cases), 0, -1):
        chosen = with_cases(groups, set(cases[:number]).__contains__)
        pairs = max(1, MIN_PAIRS - min(pairs_of(runner, case) for case in cases[:number]))
        if pairs * runner.expected_seconds(chosen) <= seconds_left:
            return chosen
    return []


def pairs_of(runner: PairedRunner, case: Case) -> int:
    """Return the number of pairs that have timed a case."""
    return len(runner.ratios.get(case.key, ()))


def more_time(runner: PairedRunner, groups: Sequence[Group], findings: Sequence[Finding]) -> str:
    """Return a sentence on the time that would be enough for undecided cases, judged by their intervals."""
    undecided = [each for each in findings if each.verdict == "undecided"]
    pairs = dict[str, float]()  # that each would take
    for each in undecided:
        if each.replicates < MIN_PAIRS:
            pairs[each.case.key] = MIN_PAIRS - each.replicates
        elif (times := times_as_many(each)) <= MAX_TIMES:
            least = max(1, MIN_PAIRS_FOR_UNCHANGED - each.replicates)
            pairs[each.case.key] = max(least, math.ceil((times - 1) * each.replicates))
    if not pairs:
        return ""
    seconds = max(pairs.values()) * runner.expected_seconds(with_cases(groups, lambda case: case.key in pairs))
    which = f"{len(pairs)} of {plural(len(undecided), 'undecided case')}"
    return f"about {rounded_up(seconds)} more would be enough for {which}"

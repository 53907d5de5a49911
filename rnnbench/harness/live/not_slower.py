"""One arm against another in this process, in rounds, until it is known whether it is slower than is allowed."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.not_slower import FIRST_LOOK, Answer, Question
from rnnbench.harness import devices
from rnnbench.harness.live import ready
from rnnbench.harness.live.rounds import LiveRounds
from rnnbench.store.records import Phase
from rnnbench.suite_file import Settings

MINE, THAN = "mine", "than"  # the arms' names in inputs and in messages
MAX_ROUNDS = 1000
SETTINGS = Settings(replicates=FIRST_LOOK, most_replicates=MAX_ROUNDS, precision=None)


@dataclass(frozen=True)
class NotSlowerResult:
    """What became of the question, and what it rests on."""

    answer: Answer | None  # None: neither could be shown, or nothing was timed
    factor: float
    ratio: Estimate  # of a low quantile of the calls: time over that of `than`
    mean_ratio: Estimate  # of the mean of all calls
    seconds: dict[str, float]  # a call of `mine` and of `than`: the middle of the rounds' low quantiles
    rounds: int
    took_seconds: float  # of `budget_seconds`, calibration not included
    budget_seconds: float
    by_the_mean: bool  # what the answer, or its lack, is owed to
    precise_enough: bool  # the rounds ended as the ratios were known as well as asked, with no answer
    parity: str  # whether the output of `mine` is that of `than`
    phase: Phase
    device: str
    threads: int
    notes: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether the outputs are equal."""
        return self.parity.startswith("agrees")


def not_slower(
    mine: Callable[..., object],
    than: Callable[..., object],
    inputs: object = (),
    phase: Phase = "inference",
    *,
    factor: float,
    budget_seconds: float,
    precision: float | None = None,
    equal_outputs: bool = True,
) -> NotSlowerResult:
    """Take rounds until `mine` is known to be slower than `factor` times `than`, or not to be.

    `inputs`: a tensor, a tuple of arguments, or a mapping with the keys `mine` and `than`. The budget is for the
    rounds, after calibration; with `precision` (0.01: 1%) they end as well where the ratio is known so well without an
    answer. Where outputs have to be equal and are not, nothing is timed. Raises ValueError for what does not fit
    together, and what a module raises, with its name in front.
    """
    with ready({MINE: mine, THAN: than}, inputs, phase, THAN) as found:
        question, parity = Question(factor), found.parity[MINE]
        rounds = LiveRounds(devices.open_device(found.device), found.calls, THAN, SETTINGS)
        took = 0.0
        if parity.startswith("agrees") or not equal_outputs:
            took = ask(question, rounds, budget_seconds, precision)
    return NotSlowerResult(
        answer=question.answer,
        factor=factor,
        ratio=question.low,
        mean_ratio=question.mean,
        seconds={name: _middle([one.low for one in times]) for name, times in rounds.times.items()},
        rounds=len(rounds.times[MINE]),
        took_seconds=took,
        budget_seconds=budget_seconds,
        by_the_mean=question.by_the_mean,
        precise_enough=question.answer is None and question.is_within(precision),
        parity=parity,
        phase=phase,
        device=found.device,
        threads=found.threads,
        notes=found.notes,
    )


def ask(
    question: Question,
    rounds: LiveRounds,
    budget_seconds: float,
    precision: float | None,
    now: Callable[[], float] = time.monotonic,
) -> float:
    """Take rounds until the question is answered or they may go on no more; the seconds that they took."""
    rounds.prepare()
    started = now()
    rounds.end_at(started + budget_seconds)
    taken = looked = 0
    while question.answer is None and taken < MAX_ROUNDS and rounds.fits() and not question.is_within(precision):
        rounds.take()
        taken += 1
        if taken == question.next_look:
            looked = taken
            _look(question, rounds)
    if taken > looked:
        _look(question, rounds)  # the budget ended between two looks
    return now() - started


def _look(question: Question, rounds: LiveRounds) -> None:
    pairs = list(zip(rounds.times[MINE], rounds.times[THAN], strict=True))
    low = [math.log(mine.low / than.low) for mine, than in pairs]
    question.look(low, [math.log(mine.mean / than.mean) for mine, than in pairs])


def _middle(seconds: list[float]) -> float:
    return median(seconds) if seconds else math.nan

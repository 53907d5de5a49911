"""Compare two arms in this process, in rounds, until it is known whether one is slower than allowed."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.not_slower import FIRST_LOOK, Answer, Question
from rnnbench.analysis.replicate import log_ratio
from rnnbench.harness import devices
from rnnbench.harness.live.measuring import ready
from rnnbench.harness.live.outputs import compared_again
from rnnbench.harness.live.rounds import LiveRounds
from rnnbench.store.records import Phase
from rnnbench.suite_file import Settings

MINE, THAN = "mine", "than"  # the arms' names in inputs and in messages
SETTINGS = Settings(replicates=FIRST_LOOK, precision=None)


@dataclass(frozen=True)
class NotSlowerResult:
    """The answer to the question, with the measurements behind it."""

    answer: Answer | None  # None: neither answer could be shown, or nothing was timed
    factor: float
    ratio: Estimate  # time of `mine` over time of `than`, for the typical call
    mean_ratio: Estimate  # the same ratio for the mean of all calls
    seconds: dict[str, float]  # a call of `mine` and of `than`: the median of the rounds' medians
    rounds: int
    calls: int  # clocked, of each of the two at least
    took_seconds: float  # spent of `budget_seconds`
    budget_seconds: float
    by_the_mean: bool  # whether the answer, or its absence, is due to the mean
    precise_enough: bool  # the rounds ended without an answer, because the ratios reached the requested precision
    parity: str  # whether the output of `mine` agrees with that of `than`
    phase: Phase
    device: str
    threads: int
    notes: tuple[str, ...]
    must_agree: bool = True  # whether unequal outputs are a failure
    text: str = ""  # in words

    def __str__(self) -> str:
        return self.text

    @property
    def agrees(self) -> bool:
        """Whether the outputs are equal, before and after timing."""
        return self.parity.startswith("agrees")

    @property
    def is_unequal(self) -> bool:
        """Whether the outputs differ and must not, so that the times mean nothing."""
        return self.must_agree and not self.agrees


def not_slower(
    mine: Callable[..., object],
    than: Callable[..., object],
    input: object = (),
    phase: Phase = "inference",
    *,
    factor: float,
    budget_seconds: float,
    precision: float | None = None,
    threads: int | None = None,
    equal_outputs: bool = True,
) -> NotSlowerResult:
    """Take rounds until it is known whether `mine` is slower than `factor` times `than`.

    `input`: a tensor, a tuple of arguments, or a mapping with the keys `mine` and `than`. The budget covers calibration
    and the rounds; one round is taken in any case. With `precision` (0.01: 1%), the rounds also end without an answer
    once the ratio is known with this precision. `threads`: of torch; None leaves them as they are. If `equal_outputs`
    is set and the outputs differ, nothing is timed. Raises ValueError if the arguments do not fit together, and any
    error of a module, with the module's name in front.
    """
    with ready({MINE: mine, THAN: than}, input, phase, THAN, threads) as prepared:
        question, parity = Question(factor), prepared.parity[MINE]
        rounds = LiveRounds(devices.open_device(prepared.device), prepared.calls, THAN, SETTINGS)
        took, notes = 0.0, prepared.notes
        if parity.startswith("agrees") or not equal_outputs:
            took = ask(question, rounds, budget_seconds, precision)
            compared, note = compared_again(prepared.arms, prepared.calls, THAN, prepared.parity)
            parity, notes = compared[MINE], (*notes, *rounds.notes(), *([note] if note else []))
    return NotSlowerResult(
        answer=question.answer,
        factor=factor,
        ratio=question.low,
        mean_ratio=question.mean,
        seconds={name: _middle([times.median for times in of_rounds]) for name, of_rounds in rounds.times.items()},
        rounds=len(rounds.times[MINE]),
        calls=rounds.calls,
        took_seconds=took,
        budget_seconds=budget_seconds,
        by_the_mean=question.by_the_mean,
        precise_enough=question.answer is None and question.is_within(precision),
        parity=parity,
        phase=phase,
        device=prepared.device,
        threads=prepared.threads,
        notes=notes,
        must_agree=equal_outputs,
    )


def ask(
    question: Question,
    rounds: LiveRounds,
    budget_seconds: float,
    precision: float | None,
    now: Callable[[], float] = time.monotonic,
) -> float:
    """Take rounds until the question is answered or a limit ends them; returns the seconds that they took."""
    started = now()
    rounds.prepare()
    rounds.end_at(started + budget_seconds)
    taken = looked = 0
    while question.answer is None and rounds.fits() and not question.is_within(precision) and rounds.take():
        taken += 1
        if taken == question.next_look:
            looked = taken
            _look(question, rounds)
    if taken > looked:
        _look(question, rounds)  # the budget ended between two looks
    return now() - started


def _look(question: Question, rounds: LiveRounds) -> None:
    pairs = list(zip(rounds.times[MINE], rounds.times[THAN], strict=True))
    low = [log_ratio(mine, than) for mine, than in pairs]
    question.look(low, [math.log(mine.mean / than.mean) for mine, than in pairs])


def _middle(seconds: list[float]) -> float:
    return median(seconds) if seconds else math.nan

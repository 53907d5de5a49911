"""Compare two modules of this process until it is known whether one is slower than allowed."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.not_slower import Answer, Question
from rnnbench.analysis.replicate import Times, log_ratio
from rnnbench.harness import devices
from rnnbench.harness.live.loop import LiveTurns
from rnnbench.harness.live.measuring import ready
from rnnbench.harness.live.outputs import compared_again
from rnnbench.store.records import Phase

MINE, THAN = "mine", "than"  # the arms' names in inputs and in messages


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


class Factor:
    """Enough is known when one of the answers is shown, or both ratios are known within `precision`."""

    def __init__(self, factor: float, precision: float | None = None) -> None:
        self.question = Question(factor)
        self._precision = precision
        self._typical: list[float] = []  # log-ratio of each replicate
        self._means: list[float] = []
        self._looked = 0

    @property
    def is_precise(self) -> bool:
        """Whether more replicates would tell little, though there is no answer."""
        return self.question.answer is None and self.question.is_within(self._precision)

    def wanted(self) -> Sequence[str]:
        """Return both names, or none."""
        return () if self.question.answer is not None or self.is_precise else (MINE, THAN)

    def to_come(self) -> int:
        """Return the replicates until the next look."""
        return self.question.next_look - len(self._typical)

    def add(self, times: Mapping[str, Times], seconds: float) -> None:
        """Add the two ratios of a replicate, and look at all of them if it is time."""
        mine, than = times[MINE], times[THAN]
        self._typical.append(log_ratio(mine, than))
        self._means.append(math.log(mine.mean / than.mean))
        if len(self._typical) == self.question.next_look:
            self.look()

    def look(self) -> None:
        """Look at all replicates, if there are new ones; also to be called when the budget has ended them."""
        if len(self._typical) > self._looked:
            self._looked = len(self._typical)
            self.question.look(self._typical, self._means)


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
    """Take replicates until it is known whether `mine` is slower than `factor` times `than`.

    `input`: a tensor, a tuple of arguments, or a mapping with the keys `mine` and `than`. The budget covers calibration
    and the replicates; one is taken in any case. With `precision` (0.01: 1%), they also end without an answer
    once the ratio is known with this precision. `threads`: of torch; None leaves them as they are. If `equal_outputs`
    is set and the outputs differ, nothing is timed. Raises ValueError if the arguments do not fit together, and any
    error of a module, with the module's name in front.
    """
    with ready({MINE: mine, THAN: than}, input, phase, THAN, threads) as prepared:
        stop, parity = Factor(factor, precision), prepared.parity[MINE]
        turns = LiveTurns(devices.open_device(prepared.device), prepared.calls)
        took, notes = 0.0, prepared.notes
        if parity.startswith("agrees") or not equal_outputs:
            ended = turns.until(stop, time.monotonic() + budget_seconds)
            if ended.interrupted:
                raise KeyboardInterrupt
            stop.look()
            took = ended.seconds
            compared, note = compared_again(prepared.arms, prepared.calls, THAN, prepared.parity)
            parity, notes = compared[MINE], (*notes, *turns.notes(), *([note] if note else []))
    question = stop.question
    return NotSlowerResult(
        answer=question.answer,
        factor=factor,
        ratio=question.low,
        mean_ratio=question.mean,
        seconds={name: median([each.median for each in of] or [math.nan]) for name, of in turns.times.items()},
        rounds=len(turns.times[MINE]),
        calls=turns.calls_made,
        took_seconds=took,
        budget_seconds=budget_seconds,
        by_the_mean=question.by_the_mean,
        precise_enough=stop.is_precise,
        parity=parity,
        phase=phase,
        device=prepared.device,
        threads=prepared.threads,
        notes=notes,
        must_agree=equal_outputs,
    )

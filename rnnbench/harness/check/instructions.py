"""The second witness of a check: the instructions that a call takes on each side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, Self

from rnnbench.analysis.comparison import Comparison, ordered, with_instructions
from rnnbench.analysis.instructions import InstructionChange
from rnnbench.errors import UserError
from rnnbench.harness.check.paired import PairedRunner
from rnnbench.harness.instructions.counting import Counted, choose_counter
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.instructions import CounterName
from rnnbench.store.readings import Unavailable
from rnnbench.store.records import Group
from rnnbench.suite.suites import with_cases
from rnnbench.text import plural

CONFIRMATIONS = 2  # times that a case is counted again if it seems to have changed
InstructionsMode = Literal["show", "gate"]
AVX2 = (
    "callgrind counts the instructions. It does not support AVX-512, so libraries use their AVX2 code: a change within "
    "their kernels may differ from what this processor runs"
)


@dataclass
class InstructionCheck:
    """Whether and how a check counts instructions, and what it counted."""

    counter: CounterName | None  # None: nothing is counted
    is_gate: bool = False
    why_not: str = ""  # if they were asked for and can't be counted
    counted: dict[str, dict[str, Counted]] = field(default_factory=dict)  # side -> case -> counts, or a reason

    @classmethod
    def of(cls, mode: InstructionsMode | None) -> Self:
        """Choose what counts; raises UserError if nothing does and instructions are a gate."""
        if mode is None:
            return cls(None)
        try:
            return cls(choose_counter(), mode == "gate")
        except Unavailable as reason:
            text = f"instructions can't be counted here: {reason}"
            if mode == "gate":
                raise UserError(f"{text}, so they can't be a gate") from None
            return cls(None, why_not=text)

    def count(self, runner: PairedRunner, groups: Sequence[Group], on_progress: Callable[[Progress], None]) -> None:
        """Count the cases on both sides, if anything is counted.

        A change may be chance: where the interpreter's cache of methods has collisions, they differ between two
        versions of a file. So a case that seems to have changed is counted again in other processes, and the change
        must be larger than what the processes of a side differ by.
        """
        self.counted = {}
        for _ in range(1 + CONFIRMATIONS):
            if self.counter is None or not groups:
                return
            tell = partial(_tell, runner, runner.seconds, on_progress)
            for side, by_case in runner.count(groups, self.counter, tell).items():
                known = self.counted.setdefault(side, {})
                for key, new in by_case.items():
                    old = known.get(key, "")
                    known[key] = new if isinstance(old, str) or isinstance(new, str) else old.pooled(new)
            groups = with_cases(groups, lambda case: bool((change := self._change(case.key)) and change.is_beyond))

    def _change(self, key: str) -> InstructionChange | None:
        """Return the change of a case that was counted on both sides."""
        base, head = (self.counted.get(side, {}).get(key, "") for side in ("base", "head"))
        return None if isinstance(base, str) or isinstance(head, str) else InstructionChange(base, head)

    def added(self, comparison: Comparison) -> Comparison:
        """Return the comparison with what was counted, and notes about what was not."""
        if self.counter is None:
            return replace(comparison, notes=(*comparison.notes, self.why_not)) if self.why_not else comparison
        changed = ((finding, self._change(finding.case.key)) for finding in comparison.findings)
        findings = [
            with_instructions(finding, change, gate=self.is_gate) if change else finding for finding, change in changed
        ]
        notes = [*comparison.notes, *([AVX2] if self.counter == "callgrind" else [])]
        reasons: dict[str, list[str]] = {}  # reason -> the cases
        for key in self.counted.get("base", {}):
            told = {side: text for side in ("base", "head") if isinstance(text := self.counted[side].get(key, ""), str)}
            same = len({*told.values()}) == 1 and len(told) > 1
            if told:
                reason = told["base"] if same else "; ".join(f"{side}: {text}" for side, text in told.items())
                reasons.setdefault(reason, []).append(key)
        notes += [
            f"instructions of {plural(len(keys), 'case')} were not counted, the first is {keys[0]}: {reason}"
            for reason, keys in reasons.items()
        ]
        return replace(comparison, findings=ordered(findings), notes=tuple(notes))


def _tell(runner: PairedRunner, began: float, on_progress: Callable[[Progress], None], done: int, total: int) -> None:
    left = (runner.seconds - began) / done * (total - done) if done else None
    on_progress(Progress(runner.replicates, done, total, left, is_counting=True))

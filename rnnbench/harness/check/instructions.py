"""The second witness of a check: the instructions that a call takes on each side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from rnnbench.analysis.comparison import Comparison, Finding, ordered, with_instructions
from rnnbench.analysis.instructions import InstructionChange
from rnnbench.errors import UserError
from rnnbench.harness.check.paired import PairedRunner
from rnnbench.harness.instructions.counting import Counted, choose_counter
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.instructions import CounterName
from rnnbench.store.readings import Unavailable
from rnnbench.store.records import Group
from rnnbench.text import plural

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
        """Count the cases on both sides, if anything is counted."""
        if self.counter is not None:
            self.counted = runner.count(
                groups,
                self.counter,
                lambda done, total: on_progress(Progress(runner.replicates, done, total, None, is_counting=True)),
            )

    def added(self, comparison: Comparison) -> Comparison:
        """The comparison with what was counted, and notes about what was not."""
        if self.counter is None:
            return replace(comparison, notes=(*comparison.notes, self.why_not)) if self.why_not else comparison
        findings = ordered(self._with_change(finding) for finding in comparison.findings)
        return replace(comparison, findings=findings, notes=(*comparison.notes, *self._notes()))

    def _with_change(self, finding: Finding) -> Finding:
        base, head = (self.counted[side].get(finding.case.key, "") for side in ("base", "head"))
        if isinstance(base, str) or isinstance(head, str):
            return finding
        return with_instructions(finding, InstructionChange(base, head), gate=self.is_gate)

    def _notes(self) -> list[str]:
        reasons: dict[str, list[str]] = {}  # reason -> the cases
        for key in self.counted["base"]:
            base, head = (self.counted[side].get(key, "") for side in ("base", "head"))
            known = {side: counted for side, counted in (("base", base), ("head", head)) if isinstance(counted, str)}
            if known:
                is_same = len(known) > 1 and len(set(known.values())) == 1
                text = base if is_same else "; ".join(f"{side}: {reason}" for side, reason in known.items())
                reasons.setdefault(str(text), []).append(key)
        notes = [
            f"instructions of {plural(len(keys), 'case')} were not counted, the first is {keys[0]}: {reason}"
            for reason, keys in reasons.items()
        ]
        return [AVX2, *notes] if self.counter == "callgrind" else notes

"""The second witness of a check: the instructions that a call takes on each side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from rnnbench.analysis.comparison import Comparison, Finding, ordered, with_instructions
from rnnbench.analysis.instructions import InstructionChange
from rnnbench.errors import UserError
from rnnbench.groups import with_cases
from rnnbench.harness.check.paired import PairedRunner
from rnnbench.harness.instructions.counting import Counted, choose_counter
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.instructions import CounterName
from rnnbench.store.readings import Unavailable
from rnnbench.store.records import Case, Group
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
        if self.counter is None:
            return
        self.counted = self._count(runner, groups, self.counter, on_progress)
        for _ in range(CONFIRMATIONS):
            if not (changed := with_cases(groups, self._seems_changed)):
                return
            again = self._count(runner, changed, self.counter, on_progress)
            for side, by_case in again.items():
                for key, new in by_case.items():
                    old = self.counted[side][key]
                    assert not isinstance(old, str)  # or it would not seem changed
                    self.counted[side][key] = new if isinstance(new, str) else old.pooled(new)

    def _count(
        self,
        runner: PairedRunner,
        groups: Sequence[Group],
        counter: CounterName,
        on_progress: Callable[[Progress], None],
    ) -> dict[str, dict[str, Counted]]:
        began = runner.seconds

        def tell(done: int, total: int) -> None:
            left = (runner.seconds - began) / done * (total - done) if done else None
            on_progress(Progress(runner.replicates, done, total, left, is_counting=True))

        return runner.count(groups, counter, tell)

    def _change(self, key: str) -> InstructionChange | None:
        """The change of a case that was counted on both sides."""
        base, head = (self.counted[side].get(key, "") for side in ("base", "head"))
        return None if isinstance(base, str) or isinstance(head, str) else InstructionChange(base, head)

    def _seems_changed(self, case: Case) -> bool:
        change = self._change(case.key)
        return change is not None and change.is_beyond

    def added(self, comparison: Comparison) -> Comparison:
        """The comparison with what was counted, and notes about what was not."""
        if self.counter is None:
            return replace(comparison, notes=(*comparison.notes, self.why_not)) if self.why_not else comparison
        findings = ordered(self._with_change(finding) for finding in comparison.findings)
        return replace(comparison, findings=findings, notes=(*comparison.notes, *self._notes()))

    def _with_change(self, finding: Finding) -> Finding:
        change = self._change(finding.case.key)
        return finding if change is None else with_instructions(finding, change, gate=self.is_gate)

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

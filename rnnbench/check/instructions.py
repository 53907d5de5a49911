"""The second witness of a check: the instructions that a call takes on each side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from rnnbench.analysis.comparison import Comparison, ordered, with_instructions
from rnnbench.analysis.instructions import CounterName, InstructionChange
from rnnbench.check.counting import Counted
from rnnbench.check.paired import PairedRunner
from rnnbench.errors import UserError
from rnnbench.harness.machine.perf_event import choose_counter
from rnnbench.harness.turns.progress import Progress
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

    counter: CounterName | None = None  # None: nothing is counted
    is_gate: bool = False
    notes: list[str] = field(default_factory=list)
    counted: dict[str, tuple[Counted, Counted]] = field(default_factory=dict)  # case -> base and head

    @classmethod
    def of(cls, mode: InstructionsMode | None) -> Self:
        """Choose what counts; raises UserError if nothing does and instructions are a gate."""
        if mode is None:
            return cls()
        try:
            counter = choose_counter()
        except Unavailable as reason:
            text = f"instructions can't be counted here: {reason}"
            if mode == "gate":
                raise UserError(f"{text}, so they can't be a gate") from None
            return cls(notes=[text])
        return cls(counter, mode == "gate", [AVX2] if counter == "callgrind" else [])

    def count(self, runner: PairedRunner, groups: Sequence[Group], on_progress: Callable[[Progress], None]) -> None:
        """Count the cases on both sides, if anything is counted.

        A change may be chance: where the interpreter's cache of methods has collisions, they differ between two
        versions of a file. So a case that seems to have changed is counted again in other processes, and the change
        must be larger than what the processes of a side differ by.
        """
        for _ in range(1 + CONFIRMATIONS):
            if self.counter is None or not groups:
                return
            began = runner.seconds

            def tell(done: int, total: int, began: float = began) -> None:
                left = (runner.seconds - began) / done * (total - done) if done else None
                on_progress(Progress(runner.replicates, done, total, left, is_counting=True))

            sides = runner.count(groups, self.counter, tell)
            for key in sides["base"]:
                base, head = self.counted.get(key, ("", ""))
                self.counted[key] = _pooled(base, sides["base"][key]), _pooled(head, sides["head"][key])
            groups = with_cases(groups, lambda case: bool((change := self._change(case.key)) and change.is_beyond))

    def _change(self, key: str) -> InstructionChange | None:
        """Return the change of a case that was counted on both sides."""
        base, head = self.counted.get(key, ("", ""))
        return None if isinstance(base, str) or isinstance(head, str) else InstructionChange(base, head)

    def added(self, comparison: Comparison) -> Comparison:
        """Return the comparison with what was counted, and notes about what was not."""
        changes = {key: change for key in self.counted if (change := self._change(key))}
        findings = [
            with_instructions(found, changes[found.case.key], gate=self.is_gate) if found.case.key in changes else found
            for found in comparison.findings
        ]
        if self.is_gate and not changes:  # it would pass without having counted anything
            findings = [
                replace(found, verdict="incomparable", reason="its instructions were not counted")
                if found.case.key in self.counted and found.verdict != "regressed"
                else found
                for found in findings
            ]
        reasons: dict[str, list[str]] = {}  # reason -> the cases
        for key in filter(lambda key: key not in changes, self.counted):
            told = dict.fromkeys(text for text in self.counted[key] if isinstance(text, str))
            reasons.setdefault("; ".join(told), []).append(key)
        not_counted = [
            f"instructions of {plural(len(keys), 'case')} were not counted, the first is {keys[0]}: {reason}"
            for reason, keys in reasons.items()
        ]
        return replace(comparison, findings=ordered(findings), notes=(*comparison.notes, *self.notes, *not_counted))


def _pooled(old: Counted, new: Counted) -> Counted:
    return new if isinstance(old, str) or isinstance(new, str) else old.pooled(new)

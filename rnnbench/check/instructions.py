"""The second witness of a check: the instructions that a call takes on each side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from rnnbench.analysis.comparison import Comparison, ordered, with_instructions
from rnnbench.analysis.instructions import CounterName, InstructionChange
from rnnbench.check.paired import PairedRunner
from rnnbench.errors import UserError
from rnnbench.harness.machine.perf_event import choose_counter
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.readings import Unavailable
from rnnbench.store.records import Group
from rnnbench.suite.suites import cases_of, grouped
from rnnbench.text import plural

CONFIRMATIONS = 2  # times that a case is counted again if it seems to have changed
InstructionsMode = Literal["show", "gate"]
AVX2 = (
    "callgrind counts the instructions. It does not support AVX-512, so libraries use their AVX2 code: a change within "
    "their kernels may differ from what this processor runs"
)


def chosen_counter(mode: InstructionsMode | None) -> tuple[CounterName | None, list[str]]:
    """Return what counts, or None if nothing does, and notes about it.

    Raises UserError if instructions are a gate and nothing counts them here.
    """
    if mode is None:
        return None, []
    try:
        counter = choose_counter()
    except Unavailable as reason:
        text = f"instructions can't be counted here: {reason}"
        if mode == "gate":
            raise UserError(f"{text}, so they can't be a gate") from None
        return None, [text]
    return counter, [AVX2] if counter == "callgrind" else []


def count(
    runner: PairedRunner, groups: Sequence[Group], counter: CounterName, on_progress: Callable[[Progress], None]
) -> dict[str, InstructionChange | str]:
    """Count the cases on both sides; returns the change of each, or why there is none, by the case's key.

    A change may be chance: where the interpreter's cache of methods has collisions, they differ between two versions of
    a file. So a case that seems to have changed is counted again in other processes, and the change must be larger than
    what the processes of a side differ by.
    """
    changes: dict[str, InstructionChange | str] = {}
    for _ in range(1 + CONFIRMATIONS):
        if not groups:
            break
        began = runner.seconds

        def tell(done: int, total: int, began: float = began) -> None:
            left = (runner.seconds - began) / done * (total - done) if done else None
            on_progress(Progress(runner.replicates, done, total, left, is_counting=True))

        counted = runner.count(groups, counter, tell)
        for key in counted["base"]:
            base, head, earlier = counted["base"][key], counted["head"][key], changes.get(key)
            if isinstance(base, str) or isinstance(head, str):
                changes[key] = "; ".join(dict.fromkeys(reason for reason in (base, head) if isinstance(reason, str)))
            elif isinstance(earlier, InstructionChange):
                changes[key] = InstructionChange(earlier.base.pooled(base), earlier.head.pooled(head))
            else:
                changes[key] = InstructionChange(base, head)
        seen = {case: changes[case.key] for case in cases_of(groups)}
        groups = grouped(
            [case for case, each in seen.items() if isinstance(each, InstructionChange) and each.is_beyond]
        )
    return changes


def added(
    comparison: Comparison, changes: Mapping[str, InstructionChange | str], notes: Iterable[str], *, is_gate: bool
) -> Comparison:
    """Return the comparison with what was counted, and notes about what was not."""
    counted = {key: change for key, change in changes.items() if isinstance(change, InstructionChange)}
    findings = [
        with_instructions(found, counted[found.case.key], gate=is_gate) if found.case.key in counted else found
        for found in comparison.findings
    ]
    if is_gate and not counted:  # it would pass without having counted anything
        findings = [
            replace(found, verdict="incomparable", reason="its instructions were not counted")
            if found.case.key in changes and found.verdict != "regressed"
            else found
            for found in findings
        ]
    reasons: dict[str, list[str]] = {}  # reason -> the cases
    for key, reason in changes.items():
        if isinstance(reason, str):
            reasons.setdefault(reason, []).append(key)
    not_counted = [
        f"instructions of {plural(len(keys), 'case')} were not counted, the first is {keys[0]}: {reason}"
        for reason, keys in reasons.items()
    ]
    return replace(comparison, findings=ordered(findings), notes=(*comparison.notes, *notes, *not_counted))

"""Instructions in a check: on workers whose counts the test sets, once on real ones; and what callgrind leaves."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from rnnbench.analysis.comparison import Comparison, InstructionChange, InstructionCounts, Part, ordered
from rnnbench.analysis.decide import Evidence, finding_of
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import Judged
from rnnbench.check import counting
from rnnbench.check.counting import (
    AVX2,
    NOT_COUNTED,
    UNCONFIRMED,
    Counted,
    Counting,
    chosen_counter,
    count_instructions,
    notes_of_uncounted,
    part_of,
    read_dump,
)
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT, Origin
from rnnbench.harness.coordinator.process import USUAL_START, WorkerProcess, WorkerStart, lost
from rnnbench.harness.protocol import Building
from rnnbench.store.metrics import Unavailable
from rnnbench.store.records import Case, Measurement
from rnnbench.suite.file import Settings
from rnnbench.suite.outline import grouped
from tests.doubles import workload as small
from tests.doubles.fakes import FakeWorkers

CASES = [small.case("gru", batch_size=size) for size in (1, 2, 3)]


def workers(replies: Mapping[str, Any]) -> FakeWorkers:
    """Workers that reply to `count` with what the test sets for each case, or raise it."""

    def count(message: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
        reply = replies[Case.from_axes(message["case"]).key]
        if isinstance(reply, BaseException):
            raise reply
        return dict(reply)

    return FakeWorkers(edit=count)


def count(replies: list[Any], cases: list[Case] = CASES) -> tuple[dict[str, Counted], FakeWorkers]:
    """The counts by the kernel of these cases, and the workers that were started."""
    started = workers({case.key: reply for case, reply in zip(cases, replies, strict=True)})
    sides = {"base": (partial(started, "counter"), Building("/", 32))}
    return count_instructions(cases, sides, "perf_event", Settings())["base"], started


def fine(*totals: int) -> dict[str, Any]:
    return {"ok": True, "totals": list(totals)}


def test_the_rounds_of_each_case_are_kept_and_the_worker_is_ended() -> None:
    counted, started = count([fine(5, 4, 6), fine(7, 7), fine(9)])
    assert [counted[case.key] for case in CASES] == [
        InstructionCounts("perf_event", (5, 4, 6)),
        InstructionCounts("perf_event", (7, 7)),
        InstructionCounts("perf_event", (9,)),
    ]
    assert len(started.started) == 1
    assert started.are_closed


def test_a_case_that_fails_or_loses_its_worker_has_the_reason_and_the_next_one_a_new_worker() -> None:
    failed = {"ok": False, "status": "failed", "reason": "RuntimeError: boom"}
    counted, started = count([failed, lost("it was killed"), fine(9)])
    assert [counted[case.key] for case in CASES[:2]] == ["RuntimeError: boom", "it was killed"]
    assert isinstance(counted[CASES[2].key], InstructionCounts)
    assert len(started.started) == 3
    assert started.are_closed


def test_a_case_is_counted_in_one_thread() -> None:
    many, one = (small.case("gru", threads=threads) for threads in (4, 1))
    start = partial(workers({one.key: fine(3)}), "counter")
    counts = count_instructions([many], {"base": (start, Building("/", 32))}, "perf_event", Settings())["base"]
    assert counts == {many.key: InstructionCounts("perf_event", (3,))}


def test_what_can_not_be_counted_is_not_asked_for() -> None:
    def never(**_: Any) -> Any:
        raise AssertionError

    cases = [small.case("gru", "compiled"), small.case("gru", phase="epoch", samples=8)]
    counts = count_instructions(cases, {"base": (never, Building("/", 32))}, "callgrind", Settings())
    reasons = [counts["base"][case.key] for case in cases]
    assert reasons[0] == "torch.compile would take minutes under callgrind"
    assert "draws from a data set" in str(reasons[1])


class Runner:
    """A check's runner. Its workers count what the test sets of each case, in each process or in all: total or reason.

    A case without a count has failed.
    """

    replicates, seconds, settings = 4, 10.0, Settings()
    definitions: Mapping[str, frozenset[str]] = {case.key: frozenset({case.key}) for case in CASES}

    def __init__(self, *processes: dict[str, list[int | str | None]]) -> None:
        self.processes = list(processes)
        self.recorders = {side: Mock() for side in ("base", "head")}
        self.broken = {case for case, count in zip(CASES, processes[0]["head"], strict=False) if count is None}

    def failed(self, case: Case) -> bool:
        return case in self.broken

    def counters(self) -> dict[str, Any]:
        process = self.processes.pop(0) if len(self.processes) > 1 else self.processes[0]
        sides = {}
        for side, counts in process.items():
            told = [
                fine(each) if isinstance(each, int) else {"ok": False, "status": "failed", "reason": each}
                for each in counts
            ]
            replies = {case.key: reply for case, reply in zip(CASES, told, strict=False)}
            sides[side] = partial(workers(replies), "counter"), Building("/", 32)
        return sides


def counted(mode: Any, runner: Any, budget: float = 100.0) -> Comparison:
    """Two or three unchanged cases with what was counted."""
    cases = CASES[: len(runner.processes[0]["base"])]
    changes = Counting(runner, "perf_event", budget, lambda step: None).run(grouped(cases))
    fine = Estimate(1.0, 0.99, 1.01)
    is_uncounted = mode == "gate" and not any(isinstance(each, InstructionChange) for each in changes.values())
    findings = []
    for case in cases:
        change = changes.get(case.key)
        known = Evidence(
            case=case,
            margin=0.025,
            base=Measurement(case, "measured"),
            head=Measurement(case, "measured"),
            judged=Judged("unchanged", fine, fine),
            instructions=change if isinstance(change, InstructionChange) else None,
            is_uncounted=is_uncounted and case.key in changes,
            gates=frozenset({"instructions"}) if mode == "gate" else frozenset(),
        )
        findings.append(finding_of(known))
    notes = ("a note", *notes_of_uncounted(changes))
    return Comparison("mine", "main", "head", "paired", ordered(findings), notes)


def test_a_change_is_shown_and_is_a_verdict_only_as_a_gate_and_a_case_that_failed_is_not_counted() -> None:
    totals: dict[str, list[int | str | None]] = {"base": [1000, 1000, 1000], "head": [1000, 1010, None]}
    runner = Runner(totals)
    shown, gated = counted("show", runner), counted("gate", Runner(totals))
    assert [finding.verdict for finding in shown.findings] == ["unchanged"] * 3
    assert [finding.verdict for finding in gated.findings] == ["regressed", "unchanged", "unchanged"]
    assert gated.findings[0].case == CASES[1]
    assert [finding.instructions is None for finding in shown.findings] == [False, False, True]
    assert shown.notes == ("a note",)
    runner.recorders["head"].add_metrics.assert_called_with(CASES[1], {"instructions": 1010}, {})


@pytest.mark.parametrize("head", [1000, "it was killed"])
def test_a_case_that_was_not_counted_is_told_once_for_each_reason(head: int | str) -> None:
    found = counted("show", Runner({"base": ["it was killed"] * 2, "head": [head] * 2}))
    assert all(finding.instructions is None for finding in found.findings)
    told = f"instructions of 2 cases were not counted, the first is {CASES[0].key}: it was killed"
    assert found.notes[1:] == (told,)


@pytest.mark.parametrize(
    ("mode", "first", "code"), [("show", "it was killed", 0), ("gate", "it was killed", 2), ("gate", 1000, 0)]
)
def test_a_gate_that_counted_nothing_does_not_pass(mode: str, first: Any, code: int) -> None:
    """Workers under callgrind were forked once: nothing was counted, a note said so, and the exit code was 0."""
    totals = [first, "it was killed"]
    assert counted(mode, Runner({"base": totals, "head": totals})).exit_code() == code


def test_without_a_counter_the_check_goes_on_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    choose = Mock(side_effect=["callgrind", *[Unavailable("valgrind can't be found")] * 2])
    monkeypatch.setattr(counting, "choose_counter", choose)
    assert chosen_counter("show") == ("callgrind", [AVX2])
    assert chosen_counter("show") == (None, ["instructions can't be counted here: valgrind can't be found"])
    with pytest.raises(UserError, match="valgrind can't be found, so they can't be a gate"):
        chosen_counter("gate")


def test_a_change_that_is_not_larger_than_that_of_equal_code_in_other_processes_is_chance() -> None:
    first: dict[str, list[int | str | None]] = {"base": [1000, 1000], "head": [1000, 1010]}
    runner = Runner(first, {"base": [1, 1000], "head": [1, 1000]})
    found = next(each for each in counted("gate", runner).findings if each.case == CASES[1])
    asked = [call.args[0] for call in runner.recorders["head"].add_metrics.call_args_list]
    assert asked == [*CASES[:2], CASES[1]]  # again only what seems to have changed
    assert found.verdict == "unchanged"
    assert found.instructions is not None
    assert (found.instructions.ratio, found.instructions.spread) == (1.0, 0.01)
    slower = Runner(first)
    assert counted("gate", slower).exit_code() == 1
    assert slower.recorders["head"].add_metrics.call_count == 2 + counting.CONFIRMATIONS


def test_ctrl_c_ends_the_workers() -> None:
    started = workers({case.key: KeyboardInterrupt() for case in CASES})
    sides = {"base": (partial(started, "counter"), Building("/", 32))}
    with pytest.raises(KeyboardInterrupt):
        count_instructions(CASES, sides, "perf_event", Settings())
    assert started.are_closed


class Slow(Runner):
    """Each set of workers takes ten seconds."""

    seconds = 0.0

    def counters(self) -> dict[str, Any]:
        self.seconds += 10.0
        return super().counters()


def test_what_the_budget_does_not_reach_is_not_begun_and_is_said() -> None:
    totals: dict[str, list[int | str | None]] = {"base": [1000] * 3, "head": [1000] * 3}
    runner = Slow(totals)
    runner.definitions = {case.key: frozenset({"mine.py:Mine"}) for case in CASES}
    found = counted("show", runner, budget=5.0)
    assert [each.instructions is not None for each in found.findings] == [True, False, False]
    assert found.notes[-1].endswith(
        f"instructions of 2 cases were not counted, the first is {CASES[1].key}: {NOT_COUNTED}"
    )
    assert runner.seconds == 10.0


def test_a_change_that_there_is_no_time_to_count_again_is_no_change() -> None:
    totals: dict[str, list[int | str | None]] = {"base": [1000], "head": [1010]}
    found = counted("gate", Slow(totals), budget=5.0)
    assert found.findings[0].instructions is None
    assert found.notes[-1].endswith(UNCONFIRMED)


def test_under_callgrind_a_change_with_more_operators_is_not_counted_again() -> None:
    runner: Any = Runner({"base": [1000], "head": [1010]})
    for side, operators in (("base", 10), ("head", 11)):
        runner.recorders[side].measurements = {CASES[0].key: Mock(metrics={"operators": operators})}
    counting_now = Counting(runner, "callgrind", 100.0, lambda step: None)
    change = InstructionChange(InstructionCounts("callgrind", (1000,)), InstructionCounts("callgrind", (1010,)))
    assert counting_now._is_certain(CASES[0], change)
    fewer = InstructionChange(change.head, change.base)
    assert not counting_now._is_certain(CASES[0], fewer)
    assert not Counting(runner, "perf_event", 100.0, lambda step: None)._is_certain(CASES[0], change)


def test_what_is_counted_again_is_shown_as_another_stage() -> None:
    shown: list[Any] = []
    runner: Any = Runner({"base": [1000], "head": [1010]})
    Counting(runner, "perf_event", 100.0, shown.append).run(grouped(CASES[:1]))
    assert list(dict.fromkeys(step.stage for step in shown)) == [
        "counting instructions",
        "counting again what changed, 1 of 2",
        "counting again what changed, 2 of 2",
    ]
    assert {step.is_counting for step in shown} == {True}


def test_every_second_dump_is_that_of_a_call_and_all_are_removed(tmp_path: Path) -> None:
    for number in range(1, 13):  # more than nine: sorted by number, not by name
        (tmp_path / f"dump.{number}").write_text(f"fn=f\n0 {number}\nsummary: {number}\n")
    (tmp_path / "dump").write_text("summary: 0\n")
    assert [call.total for call in counting.take_dumps(tmp_path)] == [2, 4, 6, 8, 10, 12]
    assert [file.name for file in tmp_path.iterdir()] == ["dump"]


# One call of `aten::add` from Python, two of malloc from torch, and one of free by the C library itself.
DUMP = """\
# callgrind format
version: 1
creator: callgrind-3.24.0
positions: line
events: Ir
summary: 175


ob=/usr/lib/libpython3.11.so.1.0
fl=ceval.c
fn=_PyEval_EvalFrameDefault
0 40
cob=/venv/torch/lib/libtorch_cpu.so
cfi=???
cfn=at::_ops::add_Tensor::call(at::Tensor const&, at::Tensor const&, c10::Scalar const&)
calls=3 0
0 100

fn=_PyEval_EvalFrameDefault'2
0 10

ob=/venv/torch/lib/libtorch_cpu.so
fl=???
fn=at::_ops::add_Tensor::call(at::Tensor const&, at::Tensor const&, c10::Scalar const&)
+3 60
cob=/usr/lib/libc.so.6
cfn=malloc
calls=2 0
* 50

ob=/usr/lib/libc.so.6
fn=malloc
0 50
cfn=free
calls=1 0
0 15

fn=free
0 15
"""


def test_each_parts_own_instructions_and_calls_of_operators_are_read_but_for_the_allocator() -> None:
    dump = read_dump(DUMP.splitlines())
    assert dump.parts == {"python": 50, "dispatch": 60}
    assert dump.operators == {"aten::add": 3}


@pytest.mark.parametrize("text", ["", "not a dump\n", DUMP.replace("summary: 175", "summary: 176"), DUMP[:300]])
def test_what_is_no_whole_dump_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the functions have"):
        read_dump(text.splitlines())


@pytest.mark.parametrize(
    ("file", "function", "part"),
    [
        ("libpython3.11.so.1.0", "_PyEval_EvalFrameDefault", "python"),
        ("libtorch_cpu.so", "mkl_blas_sgemm", "kernels"),
        ("???", "???", "kernels"),
        ("libc.so.6", "__memcpy_avx_unaligned", "kernels"),
        ("libtorch_cpu.so", "at::TensorIteratorBase::build(at::TensorIteratorConfig&)", "dispatch"),
        ("libc.so.6", "malloc", None),  # what it takes is up to the state of the heap
    ],
)
def test_a_function_belongs_to_a_part_of_the_call(file: str, function: str, part: Part | None) -> None:
    assert part_of(file, function) == part


@pytest.mark.weekly
@pytest.mark.needs("valgrind")
def test_two_workers_under_callgrind_count_the_same_and_see_one_more_operator(tmp_path: Path) -> None:
    """The whole way once: a GRU, and the same with one addition in one of its steps, on both sides at once."""
    cell = """
from torch import nn
class Mine(nn.GRU):
    def forward(self, x, h=None):
        outputs, h = super().forward(x, h)
        return outputs {more}, h
"""
    for side, more in (("base", ""), ("head", "+ 0")):
        (tmp_path / side).mkdir()
        (tmp_path / side / "mine.py").write_text(cell.format(more=more))
    case = Case("mine.py:Mine", "sequence", small.workload(reference="gru", dtype="float32"))
    origin = Origin(sys.executable, 0, preload=PACKAGE_PARENT)

    def start(how: WorkerStart = USUAL_START) -> WorkerProcess:
        """Start a worker as in a check, whose other workers are forked."""
        return WorkerProcess("counter", replace(how, layout=0, origin=origin))

    sides = {side: (start, Building(str(tmp_path / side), 32)) for side in ("base", "head")}
    counted = count_instructions([case], sides, "callgrind", Settings())
    origin.close()
    base, head = (counted[side][case.key] for side in ("base", "head"))
    assert isinstance(base, InstructionCounts), base
    assert isinstance(head, InstructionCounts), head
    assert len(base.rounds) == len(head.rounds) == 5
    # The numbers of calls are exact: one addition. It turns the number 0 into a tensor by other operators.
    assert head.operators["aten::gru_input"] == base.operators["aten::gru_input"] == 1
    assert head.operators["aten::add"] - base.operators.get("aten::add", 0) == 1
    assert InstructionChange(base, head).parts()["dispatch"] > 0
    assert set(InstructionChange(base, head).parts()) == {"python", "dispatch", "kernels"}

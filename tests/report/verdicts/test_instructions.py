"""Instructions in words, beside the verdict of the time."""

import json
from dataclasses import replace

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.comparison import Finding, with_instructions
from rnnbench.analysis.instructions import CountDifference, InstructionChange
from rnnbench.report.verdicts import answer, as_json, junit, sentence
from rnnbench.report.verdicts.instructions import instruction_change, instruction_counts, short
from rnnbench.report.words.case_names import names
from rnnbench.store.instructions import FunctionName, InstructionCounts
from tests.doubles.workload import case

from .samples import FAILING, OPEN, SAME, SLOWER, comparison, finding

MM = FunctionName("libtorch_cpu.so", "mkl_blas_xsgemm")
BUILD = FunctionName("libtorch_cpu.so", "at::TensorIteratorBase::build(at::TensorIteratorConfig&)")
PYTHON = FunctionName("libpython3.11.so", "_PyEval_EvalFrameDefault")


def change(more: FunctionName | None, by: int = 70, adds: int = 15) -> InstructionChange:
    functions = {MM: 5000, BUILD: 3000, PYTHON: 2000}
    base = InstructionCounts("callgrind", (10_000, 10_004, 10_004), functions, {"aten::add": 15})
    grown = functions if more is None else functions | {more: functions[more] + by}
    head = InstructionCounts("callgrind", (10_000 + (by if more else 0),), grown, {"aten::add": adds})
    return InstructionChange(base, head)


def test_a_change_says_how_much_and_where(snapshot: SnapshotAssertion) -> None:
    samples = {
        "an operator is called more often": change(BUILD, adds=16),
        "dispatch": change(BUILD),
        "kernels": change(MM),
        "Python": change(PYTHON),
        "fewer in Python": change(PYTHON, -70),
        "an operator is called less often": change(BUILD, -70, adds=14),
        "without functions": InstructionChange(
            InstructionCounts("perf_event", (1000,)), InstructionCounts("perf_event", (1010,))
        ),
    }
    assert {kind: (instruction_change(each), instruction_counts(each)) for kind, each in samples.items()} == snapshot


def with_change(found: Finding, more: FunctionName | None, *, gate: bool = False, by: int = 70) -> Finding:
    return with_instructions(found, change(more, by), gate=gate)


def test_the_sentence_says_whether_the_time_agrees(snapshot: SnapshotAssertion) -> None:
    samples = {
        "unchanged": with_change(SAME, PYTHON),
        "undecided": with_change(OPEN, PYTHON),
        "slower": with_change(SLOWER, PYTHON),
        "slower with as many instructions": with_change(SLOWER, None),
        "unchanged with as many instructions": with_change(SAME, None),
        "slower with a cause": with_change(finding("regressed", 1.051), PYTHON),
        "a gate": with_change(SAME, PYTHON, gate=True),
        "a gate, and the time is undecided": with_change(OPEN, PYTHON, gate=True),
    }
    assert {kind: sentence.render(each) for kind, each in samples.items()} == snapshot


def test_only_a_gate_is_a_verdict_and_time_is_never_overruled() -> None:
    assert with_change(SAME, PYTHON).verdict == "unchanged"
    gated = with_change(SAME, PYTHON, gate=True)
    assert gated.verdict == "regressed"
    assert gated.is_by_instructions
    assert with_change(SAME, PYTHON, gate=True, by=-70).verdict == "unchanged"
    assert with_change(SLOWER, PYTHON, gate=True, by=-70).verdict == "regressed"
    assert not with_change(SLOWER, PYTHON, gate=True).is_by_instructions
    assert with_change(SAME, PYTHON, gate=True, by=20).verdict == "unchanged"  # within the margin
    apart = finding("incomparable", reason="torch 2.8.0 in the base")
    assert with_change(apart, PYTHON, gate=True).verdict == "incomparable"


def test_programs_get_what_was_counted() -> None:
    checked = comparison(with_change(SAME, PYTHON, gate=True), FAILING)
    by_case = {found["case"]: found for found in json.loads(as_json.render(checked))["findings"]}
    counted = by_case[SAME.case.key]
    assert counted["decided_by"] == "instructions"
    assert counted["instructions"]["base"] == 10_000
    assert counted["instructions"]["functions"] == [{"name": PYTHON.function, "base": 2000, "head": 2070}]
    assert counted["instructions"]["parts"]["python"] == pytest.approx(0.007)
    assert by_case[FAILING.case.key]["instructions"] is None
    assert "regressed: 0.7% more instructions" in junit.render(checked)
    assert "instructions: 10,000 -&gt; 10,070 (+0.7%), of which Python +0.7%" in junit.render(checked)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (
            "void c10::function_ref<void (char**, long)>::callback_fn<at::native::(anonymous namespace)::F>(long)",
            "c10::function_ref::callback_fn",
        ),
        ("at::native::copy(at::Tensor&) [clone .isra.0]", "at::native::copy"),
        ("mkl_blas", "mkl_blas"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_a_functions_name_is_short(function: str, name: str) -> None:
    assert short(CountDifference(function, 0, 1)) == name


def test_the_answer_counts_the_cases_that_take_more(snapshot: SnapshotAssertion) -> None:
    other = replace(OPEN, case=case("gru", batch_size=16))
    samples = {
        "not counted": [SAME],
        "none takes more": [with_change(SAME, None)],
        "one takes more": [with_change(SAME, PYTHON), SLOWER],
        "two take more": [with_change(SAME, PYTHON), with_change(other, PYTHON, by=140)],
    }
    answers = {
        kind: answer.answer(comparison(*found), names(each.case for each in found)) for kind, found in samples.items()
    }
    assert answers == snapshot


def test_a_gate_orders_a_case_among_the_regressed() -> None:
    gated = with_change(SAME, PYTHON, gate=True)
    assert [found.verdict for found in comparison(OPEN, gated).findings] == ["regressed", "undecided"]
    assert comparison(gated).exit_code() == 1
    assert replace(gated, instructions=None).is_by_instructions is False

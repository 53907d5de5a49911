"""Instructions in words, beside the verdict of the time."""

import json
from dataclasses import replace

import pytest

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


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (change(BUILD, adds=16), "0.7% more instructions (spread 0.0%), in aten::add (16 calls instead of 15)"),
        (
            change(BUILD),
            "0.7% more instructions (spread 0.0%), most in torch's dispatch (`at::TensorIteratorBase::build`)",
        ),
        (change(MM), "0.7% more instructions (spread 0.0%), most in kernels (`mkl_blas_xsgemm`)"),
        (change(PYTHON), "0.7% more instructions (spread 0.0%), most in Python"),
        (change(PYTHON, -70), "0.7% fewer instructions (spread 0.0%), most in Python"),
        (
            change(BUILD, -70, adds=14),
            "0.7% fewer instructions (spread 0.0%), in aten::add (14 calls instead of 15)",
        ),
    ],
)
def test_a_change_says_how_much_and_where(sample: InstructionChange, text: str) -> None:
    assert instruction_change(sample) == text


def with_change(found: Finding, more: FunctionName | None, *, gate: bool = False, by: int = 70) -> Finding:
    return with_instructions(found, change(more, by), gate=gate)


def test_the_sentence_says_whether_the_time_agrees() -> None:
    assert sentence.render(with_change(SAME, PYTHON)).endswith("most in Python; the time does not show it")
    assert sentence.render(with_change(OPEN, PYTHON)).endswith(
        "a longer budget would tell; 0.7% more instructions (spread 0.0%), most in Python"
    )
    assert sentence.render(with_change(SLOWER, PYTHON)).endswith(
        "; 0.7% more instructions (spread 0.0%), most in Python"
    )
    assert sentence.render(with_change(SLOWER, None)).endswith(
        "as many instructions as before: memory, caches or the clock"
    )
    assert sentence.render(with_change(SAME, None)) == sentence.render(SAME)
    unexplained = finding("regressed", 1.051)
    assert "slower kernels" in sentence.render(unexplained)
    assert "slower kernels" not in sentence.render(with_change(unexplained, PYTHON))


def test_only_a_gate_is_a_verdict_and_time_is_never_overruled() -> None:
    assert with_change(SAME, PYTHON).verdict == "unchanged"
    gated = with_change(SAME, PYTHON, gate=True)
    assert gated.verdict == "regressed"
    assert gated.is_by_instructions
    assert sentence.render(gated).startswith("0.7% more instructions")
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


def test_counts_without_functions_are_told_as_a_number() -> None:
    base, head = (InstructionCounts("perf_event", (total,)) for total in (1000, 1010))
    assert instruction_change(InstructionChange(base, head)) == "1.0% more instructions"
    assert instruction_counts(InstructionChange(base, head)) == "instructions: 1,000 -> 1,010 (+1.0%)"


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


def test_the_answer_counts_the_cases_that_take_more() -> None:
    def told(*findings: Finding) -> str:
        checked = comparison(*findings)
        return answer.answer(checked, names(each.case for each in checked.findings))

    other = replace(OPEN, case=case("gru", batch_size=16))
    assert "instructions" not in told(SAME)
    assert told(with_change(SAME, None)).endswith("Of 1 case counted, none takes more instructions.")
    assert told(with_change(SAME, PYTHON), SLOWER).endswith(
        "1 of 1 case takes more instructions: combined loop inference, 0.7%."
    )
    two = told(with_change(SAME, PYTHON), with_change(other, PYTHON, by=140))
    assert two.endswith("2 of 2 cases take more instructions: the most is gru loop inference, 1.4%.")


def test_a_gate_orders_a_case_among_the_regressed() -> None:
    gated = with_change(SAME, PYTHON, gate=True)
    assert [found.verdict for found in comparison(OPEN, gated).findings] == ["regressed", "inconclusive"]
    assert comparison(gated).exit_code(strict=False) == 1
    assert replace(gated, instructions=None).is_by_instructions is False

"""Dumps of callgrind, as it writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.harness.instructions.dump import Dump, operator_name, read_dump
from rnnbench.store.instructions import FunctionName

# One call of `aten::add` from Python, two of malloc from torch, and one of free by the C library itself.
DUMP = """\
# callgrind format
version: 1
creator: callgrind-3.24.0
positions: line
events: Ir
summary: 175


ob=(1) /usr/lib/libpython3.11.so.1.0
fl=(1) ceval.c
fn=(1) _PyEval_EvalFrameDefault
0 40
cob=(2) /venv/torch/lib/libtorch_cpu.so
cfi=(2) ???
cfn=(2) at::_ops::add_Tensor::call(at::Tensor const&, at::Tensor const&, c10::Scalar const&)
calls=3 0
0 100

fn=(3) _PyEval_EvalFrameDefault'2
0 10

ob=(2)
fl=(2)
fn=(2)
+3 60
cob=(3) /usr/lib/libc.so.6
cfn=(4) malloc
calls=2 0
* 50

ob=(3)
fn=(4)
0 50
cfn=(5) free
calls=1 0
0 15

fn=(5)
0 15
"""


def test_each_functions_own_instructions_are_read() -> None:
    dump = read_dump(DUMP.splitlines())
    assert dump.functions.total() == 175
    assert dump.functions == {
        FunctionName("libpython3.11.so.1.0", "_PyEval_EvalFrameDefault"): 50,  # both levels of the recursion
        FunctionName(
            "libtorch_cpu.so",
            "at::_ops::add_Tensor::call(at::Tensor const&, at::Tensor const&, c10::Scalar const&)",
        ): 60,
        FunctionName("libc.so.6", "malloc"): 50,
        FunctionName("libc.so.6", "free"): 15,
    }


def test_calls_of_operators_and_of_the_allocator_are_counted_but_not_the_c_librarys_own() -> None:
    dump = read_dump(DUMP.splitlines())
    assert dump.operators == {"aten::add": 3}
    assert dump.allocator_calls == 2


@pytest.mark.parametrize("text", ["", "not a dump\n", DUMP.replace("summary: 175", "summary: 176"), DUMP[:300]])
def test_what_is_no_whole_dump_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the functions have"):
        read_dump(text.splitlines())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 1 << 40)), max_size=30))
def test_no_instruction_is_lost_or_counted_twice(costs: list[tuple[str, str, int]]) -> None:
    lines = [f"ob=/lib/{file}\nfn={function}\n+1 {cost}" for file, function, cost in costs]
    text = "\n".join([*lines, f"summary: {sum(cost for *_, cost in costs)}"])
    dump = read_dump(text.splitlines())
    assert dump.functions.total() == sum(cost for *_, cost in costs)
    for file, function in {(file, function) for file, function, _ in costs}:
        own = sum(cost for *names, cost in costs if names == [file, function])
        assert dump.functions[FunctionName(file, function)] == own


@pytest.mark.parametrize(
    ("generated", "name"),
    [("add_Tensor", "aten::add"), ("add__Tensor", "aten::add_"), ("mm", "aten::mm"), ("addmm_out", "aten::addmm")],
)
def test_an_operator_has_the_name_that_people_know(generated: str, name: str) -> None:
    assert operator_name(generated) == name


def test_an_empty_dump_has_no_instructions() -> None:
    assert read_dump(["summary: 0"]) == Dump()

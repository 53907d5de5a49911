"""The programs of valgrind: found or not, switched on or not, and what they leave behind."""

from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.harness.instructions import callgrind
from rnnbench.harness.instructions.callgrind import operator_name, read_dump
from rnnbench.store.instructions import FunctionName
from rnnbench.store.readings import Unavailable
from tests.doubles import repository


class FakeProcess:
    pid = 123


def test_without_valgrind_the_reason_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert callgrind.why_not().startswith("valgrind and vgdb can't be found; install valgrind")
    for name in callgrind.PROGRAMS:
        repository.executable(tmp_path / name, "exit 0")
    assert not callgrind.why_not()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("echo no such process >&2; exit 1", "callgrind can't be switched on: no such process"),
        ("exit 3", "callgrind can't be switched on: vgdb exited with 3"),
        ("sleep 60", "callgrind can't be switched on: .* timed out"),
    ],
)
def test_a_worker_that_can_not_be_switched_on_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, reason: str
) -> None:
    repository.executable(tmp_path / "vgdb", program)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(callgrind, "SWITCH_SECONDS", 0.5)
    worker: Any = FakeProcess()
    with pytest.raises(Unavailable, match=reason):
        callgrind.switch_on(worker, tmp_path)


def test_every_second_dump_is_that_of_a_call_and_all_are_removed(tmp_path: Path) -> None:
    for number in range(1, 13):  # more than nine: sorted by number, not by name
        (tmp_path / f"base-0.{number}").write_text(f"fn=f\n0 {number}\nsummary: {number}\n")
    (tmp_path / "head-0.1").write_text("summary: 0\n")
    assert [dump.functions.total() for dump in callgrind.take_dumps(tmp_path, "base-0")] == [2, 4, 6, 8, 10, 12]
    assert [file.name for file in tmp_path.iterdir()] == ["head-0.1"]


def test_a_dump_that_was_cut_off_is_told(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"base-0.{number}").write_text("fn=f\n0 5\nsummary: 6\n")
    with pytest.raises(WorkerLost, match="what callgrind wrote can't be read: the functions have 5"):
        callgrind.take_dumps(tmp_path, "base-0")


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


@pytest.mark.parametrize(
    ("generated", "name"),
    [("add_Tensor", "aten::add"), ("add__Tensor", "aten::add_"), ("mm", "aten::mm"), ("addmm_out", "aten::addmm")],
)
def test_an_operator_has_the_name_that_people_know(generated: str, name: str) -> None:
    assert operator_name(generated) == name

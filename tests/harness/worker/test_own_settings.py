"""What a case's own code sets when it is imported, built or first called holds for it, and for no other case."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnbench.harness.machine import global_state
from rnnbench.harness.protocol import Building
from rnnbench.harness.worker.answers import answer
from rnnbench.harness.worker.state import WorkerState
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.visits import visit, worker_here
from tests.harness.worker.test_answers import observe, prepare

CELL = """
import torch
from torch import nn
{top}
class Mine(nn.RNNCell):
    def __init__(self, *sizes, **more):
        {init}
        super().__init__(*sizes, **more)
    def forward(self, input, h):
        {call}
        assert (torch.get_num_threads(), torch.backends.mkldnn.enabled) == {expected}
        return super().forward(input, h)
"""
THREADS, ONEDNN = "torch.set_num_threads(2)", "torch.backends.mkldnn.enabled = False"
USUAL, OWN = (1, True), (2, False)


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before, modules = global_state.capture(), {*sys.modules}
    monkeypatch.setattr(sys, "path", [*sys.path])
    global_state.restore({**before, "threads": 1, "oneDNN": True})
    yield
    global_state.restore(before)
    for name in {*sys.modules} - modules:
        del sys.modules[name]


def write(folder: Path, name: str, expected: Any, top: str = "", init: str = "pass", call: str = "pass") -> Case:
    (folder / f"{name}.py").write_text(CELL.format(top=top, init=init, call=call, expected=expected))
    return Case(f"{name}.py:Mine", "loop", small.workload(dtype="float32"))


def settle(worker: WorkerState, folder: Path, *cases: Case, imports: bool = True) -> list[Any]:
    """Take the cases through all that a worker does with them; each cell looks at its settings in each call."""
    sys.path.insert(0, str(folder))
    if imports:  # as a check does
        answer(worker, Building(str(folder), 64).imports([case.cell for case in cases], str(folder)))
    for case in cases:
        assert observe(worker, case, folder)["ok"]
    prepared = [prepare(worker, case, folder) for case in cases]
    assert [reply["ok"] for reply in prepared] == [True] * len(cases), prepared
    assert answer(worker, visit(*cases))["ok"]
    for case in cases:
        assert answer(worker, Building(str(folder), 64).request("verify", case))["ok"]
    now = global_state.capture()
    assert (now["threads"], now["oneDNN"]) == USUAL
    return [reply["sets"] for reply in prepared]


@pytest.mark.parametrize("imports", [True, False])
@pytest.mark.parametrize("place", ["top", "init", "call"])
def test_a_setting_holds_for_the_case_whose_code_sets_it_and_for_no_other(
    tmp_path: Path, place: str, imports: bool
) -> None:
    own = write(tmp_path, "own", OWN, **{place: f"{THREADS}; {ONEDNN}"})
    before, after = write(tmp_path, "before", USUAL), write(tmp_path, "later", USUAL)
    told = settle(worker_here(), tmp_path, before, own, after, imports=imports)
    assert told == [{}, {"threads": "2", "oneDNN": "False"}, {}]


@pytest.mark.parametrize("how", ["import helper", "from helper import NUMBER", "import package.inner"])
def test_a_module_that_sets_it_once_sets_it_for_each_case_that_imports_it_and_for_no_other(
    tmp_path: Path, how: str
) -> None:
    setting = f"import torch\n{THREADS}\n{ONEDNN}\nNUMBER = 1\n"
    (tmp_path / "package").mkdir()
    (tmp_path / "helper.py").write_text(setting)
    (tmp_path / "package" / "__init__.py").write_text(setting)
    (tmp_path / "package" / "inner.py").write_text("")
    (tmp_path / "between.py").write_text(f"{how}\n")
    one, other = write(tmp_path, "one", OWN, top=how), write(tmp_path, "two", OWN, top="import between")
    none, late = write(tmp_path, "none", USUAL), write(tmp_path, "late", OWN, init=how)
    told = settle(worker_here(), tmp_path, one, none, other, late)
    assert told[1] == {}
    assert told[0] == told[2] == told[3] == {"threads": "2", "oneDNN": "False"}


def test_what_the_reference_of_a_case_sets_is_not_the_cases(tmp_path: Path) -> None:
    write(tmp_path, "ref", OWN, top=THREADS, init=ONEDNN)
    mine = write(tmp_path, "mine", USUAL)
    workload = small.workload(dtype="float32", reference="ref.py:Mine")
    case, reference = Case(mine.cell, "loop", workload), Case("ref.py:Mine", "reference", workload)
    sys.path.insert(0, str(tmp_path))
    worker = worker_here()
    assert prepare(worker, case, tmp_path)["sets"] == {}
    assert prepare(worker, reference, tmp_path)["sets"] == {"threads": "2", "oneDNN": "False"}
    assert answer(worker, visit(case, reference))["ok"]


def test_the_precision_of_products_is_the_suites_and_what_the_code_sets_is_told(tmp_path: Path) -> None:
    top = "torch.set_float32_matmul_precision('medium')"
    case = write(tmp_path, "mine", USUAL, top=top, call="assert torch.get_float32_matmul_precision() == 'highest'")
    reply = prepare(worker_here(), case, tmp_path)
    assert reply["ok"]
    assert reply["overruled"]["float32 matmul precision"] == "medium"
    assert reply["sets"] == {}


def test_a_cell_of_a_package_that_can_not_be_imported_fails_although_its_own_module_is_whole(tmp_path: Path) -> None:
    package = tmp_path / "half"
    package.mkdir()
    (package / "__init__.py").write_text("from half import whole, broken\n")
    (package / "broken.py").write_text("raise RuntimeError('broken is broken')\n")
    case = replace(write(package, "whole", USUAL), cell="half.whole:Mine")
    sys.path.insert(0, str(tmp_path))
    reply = observe(worker_here(), case, tmp_path)
    assert not reply["ok"]
    assert "broken is broken" in reply["reason"]
    sys.modules.pop("half.whole", None)  # as in another process
    told = answer(worker_here(), Building(str(tmp_path), 64).imports([case.cell], str(tmp_path)))
    assert told["unimportable"] == case.cell

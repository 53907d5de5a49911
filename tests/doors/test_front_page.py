"""The reader's own cell of the front page: the file as it stands there, and the command below it."""

import shlex
from pathlib import Path

import pytest

from rnnbench import load
from rnnbench.store.records import Case
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small
from tests.doubles.commands import rnnbench
from tests.rules import front_page

PAGE = front_page.FRONT_PAGE.read_text()
[(COMMAND, FILE, CELL)] = front_page.COMMAND.findall(PAGE)
FEW = "--only=batch_size=1 seq_len=16 hidden_size=64 phase=inference"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / FILE).write_text(front_page.cell_file(PAGE))
    return tmp_path


@pytest.mark.usefixtures("one_thread")
def test_the_cell_of_the_front_page_computes_what_its_reference_computes(folder: Path) -> None:
    case = Case(f"{FILE}:{CELL}", "loop", small.workload(reference="lstm", dtype="float32"))
    assert str(observe(build(case, folder)).parity) == "agrees"


@pytest.mark.slow
def test_the_command_of_the_front_page_measures_the_cell(folder: Path) -> None:
    words = shlex.split(COMMAND.replace("30s", "5m"))[1:]  # it ends with its precision, also on a busy machine
    done = rnnbench(*words, FEW, "--precision", "90%", cwd=folder, code=0)
    run = load(folder / done.stdout.split()[-1])
    assert run.frame["status"].tolist() == ["measured", "measured"]
    assert "agrees" in run.frame["parity"].astype(str).tolist()

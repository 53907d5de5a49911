"""A class without a suite: what it is measured as, how wrong names are told, and the files of a new cell."""

import json
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench import load
from rnnbench.cells import load as load_cell
from rnnbench.store.records import Case
from rnnbench.suite import cell_suite, suites
from rnnbench.suite.expressions import parse_only
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.adapt import awkward
from tests.doubles import workload as small
from tests.doubles.commands import rnnbench

ROOT = Path(__file__).parents[2]
FEW = ("--only", "batch_size=1 seq_len=16 hidden_size=64 phase=inference")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a stranger's file in it."""
    (tmp_path / "awkward.py").write_bytes(Path(awkward.__file__).read_bytes())
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("whole", "implementation"), [(False, "loop"), (True, "sequence")])
def test_it_has_the_sizes_of_quick(implementation: Any, whole: bool) -> None:
    suite = cell_suite.of_cell("awkward.py:Other(theta=3)", "gru", whole=whole)
    quick = suites.read_suite("quick")
    for sweep in suite.sweep:
        assert (suite.name, sweep.cell, sweep.reference) == ("Other", ("awkward.py:Other(theta=3)",), "gru")
        assert sweep.implementation == (implementation, "torch.nn")
    theirs, those_of_gru = (
        {(load.phase, load.batch_size, load.seq_len, load.hidden_size) for load in (group.workload for group in groups)}
        for groups in (suite.groups({}, None), quick.groups(parse_only(["cell=gru"]), None))
    )
    assert theirs == those_of_gru
    assert suite.measure == quick.measure


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("class Mine: ...", ""),
        ("from other import Theirs as Mine", ""),
        ("from other import *", ""),
        ("Mine: type = make()", ""),
        ("def __getattr__(name): ...", ""),
        ("class Yours(B): ...\n'a text'", "f.py has no class or function Mine; it has Yours"),
        ("class Mime(B): ...", "f.py has no class or function Mine (did you mean 'Mime'?); it has Mime"),
        (
            "".join(f"class A{n}(B): ...\n" for n in range(12)),
            "it has A0, A1, A2, A3, A4, A5, A6, A7, A8, A9 and 2 more",
        ),
        ("", "f.py has no class or function Mine; it has none"),
    ],
)
def test_a_name_that_a_file_surely_lacks_is_told(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "f.py"
    file.write_text(text)
    assert cell_suite.missing_name(file, "f.py:Mine").endswith(words)


def test_a_module_of_the_current_folder_of_its_src_or_an_installed_one_is_there(folder: Path) -> None:
    (folder / "own_module.py").write_text("raise SystemExit('it was imported')")
    (folder / "src").mkdir()
    (folder / "src" / "in_src.py").write_text("raise SystemExit('it was imported')")
    for cell in ("own_module:Mine", "in_src:Mine", "torch.nn:GRUCell", "awkward:Named"):
        assert cell_suite.of_cell(cell, "none", whole=False).sweep[0].cell == (cell,)


def test_a_strangers_class_is_run_and_gets_a_suite(folder: Path) -> None:
    done = rnnbench(
        "run", "awkward.py:Named", "--reference", "gru", *FEW, "--precision", "99%", "--json", cwd=folder, code=0
    )
    rows = {row["cell"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["awkward.py:Named"]["parity"] == "not compared: its state is not that of torch.nn.GRU"
    assert rows["awkward.py:Named"]["ratio"] > 0
    assert rows["torch.nn.GRU"]["ratio"] == 1
    for where, cell in ((".", "awkward.py:Named"), ("below", "../awkward.py:Named")):
        done = rnnbench("new-cell", "awkward.py:Named", "--reference", "gru", "--out", where, cwd=folder, code=0)
        [sweep] = suites.read_suite(str(folder / where / "Named.toml")).sweep
        assert (sweep.cell, sweep.implementation) == ((cell,), ("loop", "torch.nn"))
    again = rnnbench("new-cell", "awkward.py:Named", cwd=folder)
    assert (again.returncode, again.stdout) == (2, "")
    assert "Named.toml already exists; choose another name or another folder" in again.stderr
    listed = rnnbench("list", "cases", "Named.toml", "--only", "batch_size=1 phase=inference", cwd=folder)
    assert [line.partition(" ")[0] for line in listed.stdout.splitlines()] == [
        "cell=awkward.py:Named",
        "cell=torch.nn.GRU",
    ]


def test_several_classes_get_one_suite(folder: Path) -> None:
    (folder / "other.py").write_text((folder / "awkward.py").read_text())
    done = rnnbench("new-cell", "awkward.py:Named", "other.py:Named", "--reference", "gru", cwd=folder, code=0)
    assert "Named.toml measures awkward.py:Named and other.py:Named" in done.stdout
    written = suites.read_suite(str(folder / "Named.toml"))
    assert written.description == "Named and Named against torch.nn.GRU, about 40 s on two cores"
    assert [sweep.cell for sweep in written.sweep] == [("awkward.py:Named", "other.py:Named")]
    mixed = rnnbench("new-cell", "awkward.py:Named", "Fresh", cwd=folder, code=2)
    assert "Fresh: a suite for several cells needs each of them as FILE.py:CELL or PACKAGE:CELL" in mixed.stderr
    assert not (folder / "Fresh.py").exists()


def test_the_strangers_file_of_the_cells_page_is_read_as_it_says(folder: Path) -> None:
    page = (ROOT / "docs/your-cell.md").read_text().partition("### Somebody else's file")[2]
    code = page.partition("beside the state.\n")[2].partition("\nIt is measured")[0]
    (folder / "ugru.py").write_text(textwrap.dedent(code))
    case = Case("ugru.py:UGRNN", "loop", small.workload(reference="gru", dtype="float32"))
    parity = str(observe(build(case, folder)).parity)
    assert parity.removeprefix("not compared: ") in " ".join(page.split())
    assert "new = g * prev + (1 - g) * torch.tanh(c)" in code


def test_a_cell_that_reads_tokens_needs_no_suite(folder: Path) -> None:
    listed = rnnbench("list", "cases", "awkward.py:Tokens", "--input", "tokens:11", *FEW, cwd=folder, code=0)
    [line] = listed.stdout.splitlines()
    assert line.startswith("cell=awkward.py:Tokens")
    assert "input=tokens:11" in listed.stderr  # as all of its cases


def test_a_cell_is_run_and_reported_against_another(folder: Path) -> None:
    (folder / "below/new.py").write_text(
        "import sys\nsys.path.append('..')\nfrom awkward import Named\n\n\nclass New(Named):\n    pass\n"
    )
    done = rnnbench(
        "run",
        "below/new.py:New",
        "--reference",
        "awkward.py:Named",
        *FEW,
        "--precision",
        "99%",
        cwd=folder,
        code=0,
    )
    assert "../awkward.py:Named" in done.stdout
    assert "agree" in done.stdout or "New loop" in done.stdout
    [run] = folder.glob("results/New-*")
    rows = json.loads(load(run).frame.drop_duplicates("case").to_json(orient="records"))
    assert {row["implementation"]: row["parity"] for row in rows} == {"loop": "agrees", "reference": "is the reference"}
    done = rnnbench("report", run, cwd=folder, code=0)
    page = Path(folder / done.stdout.splitlines()[-1]).read_text()
    assert "time over that of ../awkward.py:Named" in page


@pytest.mark.parametrize(
    ("name", "text", "layer"),
    [
        ("Mine", "class Mine(nn.LSTMCell): ...", "lstm"),
        ("Mine", "class Mine(torch.nn.GRU): ...", "gru"),
        ("Mine", "class Mine(nn.Module): ...", "none"),
        ("Mine", "def Mine(): ...", "none"),
        ("MinGRU", "", "gru"),
        ("sLSTM", "", "lstm"),
        ("IndRNNCell", "", "rnn"),
    ],
)
def test_the_layer_of_a_cells_kind_is_known_by_its_name_or_its_bases(
    tmp_path: Path, name: str, text: str, layer: str
) -> None:
    (tmp_path / "cell.py").write_text(text)
    assert cell_suite.layer_of(f"{tmp_path}/cell.py:{name}") == layer
    assert cell_suite.layer_of("package:Liquid") == "none"


REFERENCES = ("rnn", "lstm", "gru", "none")


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("reference", REFERENCES)
def test_every_case_of_a_new_cells_suite_works_and_agrees(tmp_path: Path, reference: Any, whole: bool) -> None:
    _, suite = cell_suite.write_cell("Mine", reference, tmp_path, whole=whole)
    groups = suites.read_suite(str(suite)).groups({"batch_size": ["1"], "phase": ["training"]}, None)
    cases = [case for group in groups for case in group.cases if not case.is_reference]
    parities = [str(observe(build(case, tmp_path)).parity) for case in cases]
    assert len(cases) == (1 if whole else 2)
    assert set(parities) == {"not compared: there is no reference" if reference == "none" else "agrees"}


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_module_for_a_whole_sequence_starts_from_zeros_without_a_state_as_torchs_do(
    tmp_path: Path, reference: Any
) -> None:
    cell_suite.write_cell("Mine", reference, tmp_path, whole=True)
    module = load_cell("Mine.py:Mine", tmp_path)(3, 5)
    zeros, input = torch.zeros(1, 2, 5), torch.randn(4, 2, 3)
    state = (zeros, zeros) if reference == "lstm" else zeros
    assert torch.equal(module(input)[0], module(input, state)[0])


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("reference", REFERENCES)
def test_a_new_cells_file_is_in_the_house_style(tmp_path: Path, reference: Any, whole: bool) -> None:
    module, _ = cell_suite.write_cell("Mine", reference, tmp_path, whole=whole)
    config = ["--config", str(Path(__file__).parents[2] / "pyproject.toml"), "--no-cache", str(module)]
    for how in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *how, *config]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_go_where_they_are_wanted_and_the_commands_say_so(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    done = rnnbench("new-cell", "Mine", "--out", "cells", "--sequence", cwd=tmp_path)
    assert "  rnnbench run cells/Mine.toml" in done.stdout.splitlines()
    suite = tomllib.loads((tmp_path / "cells/Mine.toml").read_text())
    assert suite["sweep"][0]["implementation"] == ["sequence", "torch.nn"]

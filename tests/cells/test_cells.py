"""Each cell against torch's own cell or layer, without the rest of rnnbench."""

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from rnnbench.cells import CELLS, CellError, is_own, load, spec
from rnnbench.cells.combined import CombinedCell
from rnnbench.cells.deep import DeepCell
from rnnbench.cells.deep_notebook import DeepNotebookCell
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.cells.vanilla import VanillaCell
from tests import workload as small


@pytest.fixture(autouse=True)
def double_precision():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("own", "torchs"), [(VanillaCell, nn.RNNCell), (GRUCell, nn.GRUCell)], ids=["vanilla", "gru"])
def test_a_cell_loads_the_weights_of_torchs_cell_and_takes_the_same_step(own, torchs) -> None:
    expected, cell = torchs(5, 7), own(5, 7)
    cell.load_state_dict(expected.state_dict())
    x, h = torch.randn(3, 5), torch.randn(3, 7)
    torch.testing.assert_close(cell(x, h), expected(x, h))


def test_the_lstm_cell_loads_the_weights_of_torchs_cell_and_takes_the_same_step() -> None:
    expected, cell = nn.LSTMCell(5, 7), LSTMCell(5, 7)
    cell.load_state_dict(expected.state_dict())
    x, state = torch.randn(3, 5), (torch.randn(3, 7), torch.randn(3, 7))
    torch.testing.assert_close(cell(x, state), expected(x, state))


def test_the_combined_cell_is_the_vanilla_cell_with_its_weights_side_by_side() -> None:
    vanilla, combined = VanillaCell(5, 7), CombinedCell(5, 7)
    reference = {f"{name}_l0": weight for name, weight in vanilla.state_dict().items()}
    combined.load_state_dict(combined.weights_from(reference))
    x, h = torch.randn(3, 5), torch.randn(3, 7)
    torch.testing.assert_close(combined(x, h), vanilla(x, h))


def run_stack(cell: DeepCell, x: torch.Tensor, states: tuple[torch.Tensor, ...]) -> torch.Tensor:
    outputs = []
    for step in x:
        states = cell(step, states)
        outputs.append(states[-1])
    return torch.stack(outputs)


@pytest.mark.parametrize(("cell_class", "equal"), [(DeepCell, True), (DeepNotebookCell, False)])
def test_the_deep_cell_equals_torchs_stack_and_the_notebooks_does_not(cell_class, equal: bool) -> None:
    layer, cell = nn.RNN(5, 7, 3), cell_class(5, 7, 3)
    cell.load_state_dict(cell.weights_from(dict(layer.named_parameters())))
    x, h = torch.randn(6, 2, 5), torch.randn(3, 2, 7)
    outputs = run_stack(cell, x, h.unbind(0))
    assert torch.allclose(outputs, layer(x, h)[0]) is equal


def test_the_notebooks_stack_never_reads_the_top_layers_state() -> None:
    cell = DeepNotebookCell(5, 7, 3)
    x, h = torch.randn(6, 2, 5), torch.randn(3, 2, 7)
    other = torch.cat((h[:2], torch.randn(1, 2, 7)))
    assert torch.equal(run_stack(cell, x, h.unbind(0)), run_stack(cell, x, other.unbind(0)))


def test_with_one_layer_the_notebooks_stack_is_the_combined_cell() -> None:
    combined, stack = CombinedCell(5, 7), DeepNotebookCell(5, 7, 1)
    stack.layers[0].load_state_dict(combined.state_dict())
    x, h = torch.randn(3, 5), torch.randn(3, 7)
    assert torch.equal(stack(x, (h,))[0], combined(x, h))


@pytest.mark.parametrize(
    "name", ["vanilla", "combined", "deep", "deep-notebook", "lstm", "gru", "lstm_peephole", "ugrnn"]
)
def test_weights_start_within_the_bound_of_torchs_recurrent_layers(name: str) -> None:
    case = small.case(name)
    cell_class = load(CELLS[name].target, root=None)  # type: ignore[arg-type] # no file is looked for
    sizes = [5, 100] + [case.workload.num_layers] * CELLS[name].stacked
    values = torch.cat([parameter.detach().flatten() for parameter in cell_class(*sizes).parameters()])
    assert 0.099 < values.abs().max() <= 0.1


@pytest.mark.parametrize("name", ["vanilla", "lstm", "gru"])
def test_projecting_first_gives_the_same_step(name: str) -> None:
    cell: Any = load(CELLS[name].target, root=None)(5, 7)  # type: ignore[arg-type]
    x, h = torch.randn(3, 5), torch.randn(3, 7)
    state = (h, torch.randn(3, 7)) if name == "lstm" else h
    torch.testing.assert_close(cell.advance(cell.project(x), state), cell(x, state))


def test_a_users_own_class_is_found_beside_the_suite_and_in_a_package(tmp_path) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\nclass Mine(nn.RNNCell):\n    pass\n")
    assert load("mine.py:Mine", tmp_path).__mro__[1] is nn.RNNCell  # type: ignore[attr-defined]
    assert load("torch.nn:GRUCell", tmp_path) is nn.GRUCell
    assert is_own("mine.py:Mine")
    assert spec("mine.py:Mine", "none").reference == "none"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("none.py:Mine", "none.py can't be imported: FileNotFoundError: no Python file "),
        ("no_such_package:Mine", "no_such_package can't be imported: ModuleNotFoundError: No module named 'no_such"),
        ("torch.nn:GRUSell", "torch.nn has no class or function GRUSell; did you mean GRUCell?"),
        ("mine.py:Other", "mine.py has no class or function Other; it has Mine"),
        ("mine.py:helper", "mine.py: helper is not a subclass of torch.nn.Module, nor a function that builds one"),
        ("raises.py:Mine", "raises.py can't be imported: ValueError: on purpose (raises.py:2)"),
        ("ends.py:Mine", "ends.py can't be imported: SystemExit: 3 (ends.py:1)"),
        ("typo.py:Mine", "typo.py can't be imported: SyntaxError: invalid syntax (typo.py, line 1)"),
    ],
)
def test_a_class_that_can_not_be_had_is_named_with_the_reason(tmp_path, target: str, message: str) -> None:
    for name, text in {
        "mine.py": "from torch import nn\nclass Mine(nn.RNNCell):\n    pass\nhelper = 3\n",
        "raises.py": "\nraise ValueError('on purpose')\n",
        "ends.py": "raise SystemExit(3)\n",
        "typo.py": "class = 3\n",
    }.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CellError) as raised:
        load(target, tmp_path)
    assert str(raised.value).startswith(message)


def test_a_part_of_a_package_is_told_how_to_be_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    sub = tmp_path / "pkg" / "sub"
    sub.mkdir(parents=True)
    for file in (sub / "__init__.py", sub.parent / "__init__.py"):
        file.touch()
    for file in (sub / "mine.py", tmp_path / "mine.py"):
        file.write_text("from ..base import Base\n")
    words = "ImportError: attempted relative import with no known parent package (mine.py:1)"
    named = "; the file is a part of a package: name it pkg.sub.mine:Mine"
    monkeypatch.chdir(tmp_path)
    for target, hint in (("pkg/sub/mine.py:Mine", named), ("mine.py:Mine", "")):
        with pytest.raises(CellError) as raised:
            load(target, tmp_path)
        assert str(raised.value) == f"{target.partition(':')[0]} can't be imported: {words}{hint}"
    monkeypatch.chdir(sub)
    with pytest.raises(CellError, match=f"name it pkg.sub.mine:Mine, with {tmp_path} as the current folder"):
        load("mine.py:Mine", sub)


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path) -> None:
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"from torch import nn\nclass Mine(nn.RNNCell):\n    n = {number}\n")
    classes = [load(f"{folder}/mine.py:Mine", tmp_path) for folder in ("a", "b")]
    assert [inspect.getsource(cell_class).splitlines()[-1].strip() for cell_class in classes] == ["n = 0", "n = 1"]
    assert len({cell_class.__module__ for cell_class in classes}) == 2

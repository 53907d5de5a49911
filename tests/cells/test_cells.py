"""The cells of rnnbench against torch's; users' own classes: what a name imports, and what is said where it can't."""

import inspect
from pathlib import Path

import pytest
import torch
from torch import nn

from rnnbench.cells import CELLS, CellError, is_own, load, spec
from rnnbench.cells.deep import DeepCell, DeepNotebookCell


@pytest.mark.parametrize(("cell_class", "equal"), [(DeepCell, True), (DeepNotebookCell, False)])
def test_the_deep_cell_equals_torchs_stack_and_the_notebooks_does_not(cell_class, equal: bool) -> None:
    layer, cell = nn.RNN(5, 7, 3).double(), cell_class(5, 7, 3).double()
    cell.load_state_dict(cell.weights_from(dict(layer.named_parameters())))
    x, h = torch.randn(6, 2, 5).double(), torch.randn(3, 2, 7).double()
    states, outputs = h.unbind(0), []
    for step in x:
        states = cell(step, states)
        outputs.append(states[-1])
    assert torch.allclose(torch.stack(outputs), layer(x, h)[0]) is equal


@pytest.mark.parametrize(
    "name", ["vanilla", "combined", "deep", "deep-notebook", "lstm", "gru", "lstm_peephole", "ugrnn"]
)
def test_weights_start_within_the_bound_of_torchs_recurrent_layers(name: str) -> None:
    cell_class = load(CELLS[name].target, root=Path())
    sizes = [5, 100] + [3] * CELLS[name].stacked
    values = torch.cat([parameter.detach().flatten() for parameter in cell_class(*sizes).parameters()])
    assert 0.099 < values.abs().max() <= 0.1


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
        ("mine.py:helper", "mine.py: helper is int; expected a function"),
        ("raises.py:Mine", "raises.py can't be imported: ValueError: on purpose (raises.py:2)"),
        ("part.py:Mine", "part.py can't be imported: ImportError: attempted relative import with no known parent "),
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
        "part.py": "from ..base import Base\n",
    }.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CellError) as raised:
        load(target, tmp_path)
    assert str(raised.value).startswith(message)
    assert ("name a file of a package as PACKAGE.MODULE:Mine" in str(raised.value)) == (target == "part.py:Mine")


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path) -> None:
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"from torch import nn\nclass Mine(nn.RNNCell):\n    n = {number}\n")
    classes = [load(f"{folder}/mine.py:Mine", tmp_path) for folder in ("a", "b")]
    assert [inspect.getsource(cell_class).splitlines()[-1].strip() for cell_class in classes] == ["n = 0", "n = 1"]
    assert len({cell_class.__module__ for cell_class in classes}) == 2

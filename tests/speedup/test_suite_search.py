"""The modules and shapes that a suite's cases name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rnnbench.cells import CellError
from rnnbench.cells.gru import GRUCell
from rnnbench.speedup.suite_search import wanted
from rnnbench.store.records import Case
from tests.doubles import workload as small


def case(cell: str = "gru", **changes: Any) -> Case:
    return small.case(cell, **{"dtype": "float32", **changes})


def test_cases_of_one_module_become_its_shapes() -> None:
    first = case(seq_len=5, batch_size=2)
    cases = [first, case(seq_len=7, batch_size=2), Case("gru", "hoisted", first.workload)]
    found, left_out = wanted([*cases, case(seq_len=5, batch_size=2, hidden_size=9)])
    assert left_out == []
    assert [(module.workload.hidden_size, shapes) for module, shapes in found.items()] == [
        (cases[0].workload.hidden_size, [(5, 2), (7, 2)]),
        (9, [(5, 2)]),
    ]


def test_modules_are_built_as_the_case_says() -> None:
    cell, layer = (
        next(iter(wanted([each])[0]))
        for each in (
            case(dtype="float64"),
            small.reference_case("lstm", num_layers=2, bidirectional=True, dtype="float32"),
        )
    )
    module = cell.build(Path())
    assert isinstance(module, GRUCell)
    assert (module.weight_hh.dtype, cell.input(3, 2).dtype, cell.input(3, 2).shape[:2]) == (
        torch.float64,
        torch.float64,
        (3, 2),
    )
    sizes = cell.workload
    assert cell.title == f"gru, input size {sizes.input_size}, hidden size {sizes.hidden_size}, float64, cpu, 1 thread"
    built = layer.build(Path())
    assert isinstance(built, nn.LSTM)
    assert (built.num_layers, built.bidirectional) == (2, True)
    assert "2 layers, bidirectional" in layer.title


def test_a_class_is_built_from_its_file(tmp_path: Path) -> None:
    alone = small.workload(reference="none", dtype="float32")
    (tmp_path / "mine.py").write_text("from torch import nn\nclass Mine(nn.GRUCell): ...\n")
    [module] = wanted([Case("mine.py:Mine", "loop", alone)])[0]
    assert type(module.build(tmp_path)).__name__ == "Mine"
    (tmp_path / "odd.py").write_text("from torch import nn\nclass Odd(nn.Module):\n    def __init__(self): ...\n")
    [odd] = wanted([Case("odd.py:Odd", "loop", alone)])[0]
    with pytest.raises(CellError, match=r"Odd\(\) takes no sizes"):
        odd.build(tmp_path)


def test_what_can_not_be_run_alone_is_left_out_with_its_reason() -> None:
    cases = [case(phase="step"), case(lengths="varied"), case(num_layers=2), case(bidirectional=True)]
    assert wanted(cases) == (
        {},
        [
            "cases of the phase step: expected inference or training",
            "cases with sequences of varied lengths",
            "cases of a cell in several layers or directions: give a module that runs them itself",
        ],
    )

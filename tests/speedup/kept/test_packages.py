"""Packages of compiled code: programs for any batch size, and a real package that runs them in a fresh process."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnbench.adapt.kinds import run_module
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.speedup.kept import manifest
from rnnbench.speedup.kept.packages import ONE_BATCH_SIZE, CodeUnit, exported, units
from rnnbench.workloads.implementations import Skip
from tests.adapt.layers import BatchFirst
from tests.speedup.kept.test_module import Classifier, Plain, expected, saved

pytestmark = pytest.mark.usefixtures("one_thread")


def program_of(module: nn.Module, input: Tensor, parts: int, any_batch_in: int) -> Any:
    """Return the program of a module's first unit for any batch size, with a state of so many parts."""
    run = run_module(module, input, None)
    unit = units(run, "compiled", tuple(input.shape[2:]))[0]
    of_unit = input if any_batch_in else input.transpose(0, 1).contiguous()
    return exported(unit, of_unit, [torch.zeros(1, input.shape[1], 6)] * parts, any_batch_in)


@pytest.mark.parametrize(
    ("module", "parts", "any_batch_in"),
    [
        (Plain(), 1, 1),
        (LSTMCell(4, 6), 2, 1),
        (nn.GRU(4, 6, num_layers=2, bidirectional=True), 1, 1),
        (Classifier().eval(), 0, 1),
        (BatchFirst(nn.LSTM(4, 6)), 0, 0),
    ],
)
def test_a_program_for_any_batch_size_computes_what_the_module_does_at_others(
    module: nn.Module, parts: int, any_batch_in: int
) -> None:
    is_read = isinstance(module, Classifier)
    program = program_of(module, torch.randint(9, (5, 3)) if is_read else torch.randn(5, 3, 4), parts, any_batch_in)
    weights = tuple(program.example_inputs[0][2])
    for batch in (2, 6):  # 6 is also the hidden size
        input = torch.randint(9, (5, batch)) if is_read else torch.randn(5, batch, 4)
        if any_batch_in == 0:
            input = torch.randn(batch, 5, 4)
        state = tuple(torch.zeros(1, batch, 6) for _ in range(parts))
        with torch.no_grad():
            outputs = program.module()(input, state, weights)[0]
            if isinstance(module, nn.GRU):
                of_layer = nn.GRU(4, 6)
                of_layer.load_state_dict({name: module.state_dict()[name] for name in of_layer.state_dict()})
                torch.testing.assert_close(outputs, of_layer(input)[0])
            else:
                result = expected(module, input)
                torch.testing.assert_close(outputs, result[0] if isinstance(result, tuple) else result)


class Asks(Plain):
    """Computes something else for three sequences."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return super().forward(x, h) * (2.0 if len(x) == 3 else 1.0)


class Counts(Plain):
    """Takes the number of sequences as a number of Python's."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return super().forward(x, h) / float(len(range(len(x))))


@pytest.mark.parametrize("module", [Asks(), Counts()])
def test_code_that_asks_for_its_batch_size_has_no_program_for_any(module: nn.Module) -> None:
    with pytest.raises(Skip) as refusal:
        program_of(module, torch.randn(5, 3, 4), 1, 1)
    assert str(refusal.value) == ONE_BATCH_SIZE


def test_a_state_whose_batch_is_in_another_dimension_has_no_program_for_any() -> None:
    unit = CodeUnit(nn.Module(), lambda module, input, state: (input * state[:, :1, :1].sum(),), {}, (4,))
    input, state = torch.randn(5, 3, 4), torch.randn(1, 6, 4)
    assert exported(unit, input, [state]).module()(input, (state,), ())
    with pytest.raises(Exception, match="size"):  # in torch's words
        exported(unit, input, [state], 1)


REAL = """
import sys, torch, rnnbench
torch.set_num_threads(1)
loaded = rnnbench.load_fastest(sys.argv[1])
for batch, (input, expected) in torch.load(sys.argv[2], weights_only=True).items():
    with torch.inference_mode():
        outputs, state = loaded(input)
    assert outputs.shape[1] == batch
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state[0], expected[-1], rtol=1e-4, atol=1e-5)
assert "torch._inductor" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiler")
def test_a_real_package_for_any_batch_size_runs_others_in_a_fresh_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnbench.kernels import routing

    monkeypatch.setattr(routing, "fastest_library", lambda products: "rnnbench")  # whatever the machine does now
    torch.manual_seed(0)
    cell = GRUCell(4, 32)
    folder = saved(tmp_path, cell, torch.randn(3, 4, 4), "prepacked", any_batch=True)
    about = manifest.read(folder)
    assert about.libraries
    assert [(shape.any_batch, shape.reason) for shape in about.shapes] == [(True, "")]
    inputs = {batch: torch.randn(3, batch, 4) for batch in (2, 3, 7)}
    with torch.no_grad():
        torch.save({batch: (input, expected(cell, input)[0]) for batch, input in inputs.items()}, tmp_path / "calls.pt")
    arguments = [sys.executable, "-c", REAL, str(folder), str(tmp_path / "calls.pt")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

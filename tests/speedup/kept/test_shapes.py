"""Which code of a folder runs other batch sizes and lengths than those that were measured."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnbench
from rnnbench.cells.gru import GRUCell
from rnnbench.errors import UserError
from rnnbench.workloads.implementations import Skip
from tests.adapt.layers import BatchFirst
from tests.doubles.packages import FakeCompiler, installed
from tests.speedup.kept.test_module import Classifier, Plain, expected, row, saved

pytestmark = pytest.mark.usefixtures("one_thread")
INPUT = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
REMEDY = "rnnbench.fastest(..., any_batch=True) compiles code for every batch size of 2 and more"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCompiler]:
    """Compiled code is plain Python."""
    with installed(monkeypatch) as compiler:
        yield compiler


def folder_of(folder: Path, module: nn.Module, *rows: dict[str, Any], input: Tensor = INPUT) -> Path:
    """Save a module at the shapes of these rows without a search."""
    return rnnbench.fastest(module, input, ways=rows, progress=False).save(folder / "kept", progress=False)


def of_any_batch(steps: int, batch: int, **more: Any) -> dict[str, Any]:
    """Return a row for code of any batch size."""
    return row(torch.empty(steps, batch, 4), "compiled", any_batch=True, **more)


@pytest.mark.parametrize("module", [Plain(), nn.GRU(4, 6, num_layers=2, bidirectional=True)])
def test_code_for_any_batch_size_runs_batches_of_two_and_more_and_no_batch_of_one(
    tmp_path: Path, fake: FakeCompiler, module: Any
) -> None:
    units = 4 if isinstance(module, nn.GRU) else 1
    loaded = rnnbench.load_fastest(folder_of(tmp_path, module, of_any_batch(5, 3)))
    with torch.no_grad(), warnings.catch_warnings(action="error"):
        for batch in (2, 3, 7):
            input, before = torch.randn(5, batch, 4), fake.calls
            outputs, state = loaded(input)
            torch.testing.assert_close((outputs, state), expected(module, input))
            torch.testing.assert_close(loaded(input, state), expected(module, input, state))
            assert fake.calls - before == 2 * units
    one, before = torch.randn(5, 1, 4), fake.calls
    with torch.no_grad():
        if isinstance(module, nn.GRU):
            with pytest.warns(UserWarning, match="GRU runs as given: batch 1, length 5 is not kept"):
                torch.testing.assert_close(loaded(one), module(one))
        else:
            with pytest.raises(
                ValueError, match=r"batch 1, length 5 is not kept; .* keeps batch 2 and more, length 5 of Plain\. To"
            ):
                loaded(one)
    assert fake.calls == before


@pytest.mark.parametrize("turns", [False, True])
def test_a_module_for_whole_sequences_runs_any_batch_size_at_its_own_length_alone(
    tmp_path: Path, fake: FakeCompiler, *, turns: bool
) -> None:
    def input_of(steps: int, batch: int) -> Tensor:
        return torch.randn(batch, steps, 4) if turns else torch.randint(9, (steps, batch))

    module = BatchFirst(nn.LSTM(4, 6)) if turns else Classifier().eval()
    loaded = rnnbench.load_fastest(saved(tmp_path, module, input_of(5, 3), turns=turns, any_batch=True))
    assert list(fake.any_batch_in.values()) == [0 if turns else 1]
    with torch.no_grad():
        for batch in (2, 8):
            input, before = input_of(5, batch), fake.calls
            torch.testing.assert_close(loaded(input), module(input))
            assert fake.calls == before + 1
        with pytest.raises(ValueError, match=r"batch 8, length 10 is not kept; .* keeps batch 2 and more, length 5 of"):
            loaded(input_of(10, 8))


def test_lengths_of_code_for_any_batch_size_add_up_at_other_batch_sizes(tmp_path: Path, fake: FakeCompiler) -> None:
    cell = Plain()
    loaded = rnnbench.load_fastest(folder_of(tmp_path, cell, of_any_batch(64, 3), of_any_batch(5, 6)))
    with torch.no_grad():
        for steps, calls in ((5, 1), (69, 2), (138, 4)):
            input, before = torch.randn(steps, 8, 4), fake.calls
            torch.testing.assert_close(loaded(input), expected(cell, input))
            assert fake.calls - before == calls
        with pytest.raises(
            ValueError,
            match=r"batch 8, length 7 is not kept; .* keeps batch 2 and more, length 64 and batch 2 and more, length 5",
        ):
            loaded(torch.randn(7, 8, 4))


def test_code_of_a_length_runs_it_at_another_batch_size_though_longer_pieces_do_not_fit(
    tmp_path: Path, fake: FakeCompiler
) -> None:
    cell = Plain()
    loaded = rnnbench.load_fastest(folder_of(tmp_path, cell, of_any_batch(64, 3), of_any_batch(130, 3)))
    input, before = torch.randn(130, 2, 4), fake.calls  # 64, 64 and no code for the last two steps
    with torch.no_grad():
        torch.testing.assert_close(loaded(input), expected(cell, input))
    assert fake.calls - before == 3  # 44, 44 and 42


def test_code_for_one_batch_size_comes_before_code_for_any(tmp_path: Path, fake: FakeCompiler) -> None:
    rows = of_any_batch(5, 3), row(torch.empty(5, 8, 4), "compiled"), row(torch.empty(2, 8, 4), "compiled")
    loaded = rnnbench.load_fastest(folder_of(tmp_path, Plain(), *rows))
    ran = []
    for steps, batch in ((5, 8), (10, 8), (10, 3), (4, 8)):
        shape = loaded._shapes.shape_of(steps, batch)
        assert shape is not None
        ran.append({unit.unit.packages["5"] if steps > 4 else "" for unit in shape.units})
        [unit] = shape.units
        if steps == 10:
            names = {id(run): name for name, run in loaded._packages.items()}
            ran[-1] = {names[id(unit.packages[5])]}
    assert ran == [{"package-2"}, {"package-2"}, {"package-1"}, {""}]
    assert loaded._shapes.shape_of(4, 3) is None
    assert fake.made


def test_code_for_any_batch_size_is_compiled_once_for_all_batch_sizes(tmp_path: Path, fake: FakeCompiler) -> None:
    rows = of_any_batch(5, 3), of_any_batch(5, 8), of_any_batch(10, 8), row(torch.empty(5, 4, 4), "compiled")
    loaded = rnnbench.load_fastest(folder_of(tmp_path, nn.GRU(4, 6), *rows))
    assert [shape.any_batch for shape in loaded.manifest.shapes] == [True, True, True, False]
    assert [shape.compile_seconds for shape in loaded.manifest.shapes] == [2.0, 0.0, 2.0, 2.0]
    assert list(fake.any_batch_in.values()) == [1, 1, None]


@pytest.mark.parametrize("error", [Skip("it asks for the size"), RuntimeError("it asks for the size\nmore")])
def test_code_that_can_not_be_for_any_batch_size_is_for_its_own_with_the_reason(
    tmp_path: Path, fake: FakeCompiler, error: Exception
) -> None:
    fake.error_of_any_batch = error
    cell = Plain()
    loaded = rnnbench.load_fastest(folder_of(tmp_path, cell, of_any_batch(5, 3)))
    [shape] = loaded.manifest.shapes
    assert (shape.any_batch, shape.way, len(shape.units)) == (False, "compiled", 1)
    assert shape.reason.endswith("it asks for the size")
    assert f"  other batch sizes: not by this code, only batch 3; {shape.reason}\n" in repr(loaded)
    before = fake.calls
    with torch.no_grad():
        torch.testing.assert_close(loaded(INPUT), expected(cell, INPUT))
        with pytest.raises(ValueError, match=r"batch 2, length 5 is not kept; .* keeps batch 3, length 5 of Plain"):
            loaded(INPUT[:, :2])
    assert fake.calls == before + 1


class Small(nn.Module):
    """Takes three sequences at most."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(4, 6)

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[1] > 3:
            raise RuntimeError("too many sequences")
        outputs: Tensor = self.layer(input)[0]
        return outputs


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("module", "batch", "reason"),
    [
        (Small(), 3, "the module raised RuntimeError: too many sequences (test_shapes.py:"),
        (Plain(), 1, "torch compiles a batch of 1 for this size alone"),
    ],
)
def test_a_module_or_a_batch_that_has_no_other_size_is_kept_for_its_own(
    tmp_path: Path, module: nn.Module, batch: int, reason: str
) -> None:
    loaded = rnnbench.load_fastest(folder_of(tmp_path, module, of_any_batch(5, batch)))
    [shape] = loaded.manifest.shapes
    assert not shape.any_batch
    assert shape.units
    assert reason in shape.reason


def test_a_folder_whose_code_is_off_at_another_batch_size_is_refused(tmp_path: Path, fake: FakeCompiler) -> None:
    fake.changes = lambda outputs: outputs + (outputs.shape[1] == 4)
    with pytest.raises(UserError, match=r"the outputs of its trial input \(batch 4, length 5\) are off by .* again"):
        folder_of(tmp_path, Plain(), of_any_batch(5, 3))
    assert not list(tmp_path.iterdir())
    fake.changes = lambda outputs: outputs
    folder = folder_of(tmp_path, Plain(), of_any_batch(5, 3))
    fake.changes = lambda outputs: outputs + (outputs.shape[1] == 4)
    with pytest.raises(UserError, match=r"the outputs of its trial input \(batch 4, length 5\) are off by .* again"):
        rnnbench.load_fastest(folder)


@pytest.mark.parametrize(
    ("module", "steps", "words"),
    [
        (GRUCell(4, 6), 64, "sums of 64 steps, by the same code; 256 steps are 4 calls of it, and nothing more is"),
        (GRUCell(4, 6), 10, "sums of 10 steps, by the same code; to keep 256 steps, about 20 s of compiling"),
        (Classifier().eval(), 10, "not by this code; to keep 256 steps, about 60 s of compiling"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_how_other_lengths_and_batch_sizes_run_is_said(tmp_path: Path, module: Any, steps: int, words: str) -> None:
    is_read = isinstance(module, Classifier)
    input = torch.randint(9, (steps, 3)) if is_read else torch.randn(steps, 3, 4)
    for any_batch, of_batches in (
        (False, f"  other batch sizes: not by this code, only batch 3; {REMEDY}\n"),
        (True, "  other batch sizes: 2 and more, by the same code\n"),
    ):
        lines = repr(rnnbench.load_fastest(saved(tmp_path / str(any_batch), module, input, any_batch=any_batch)))
        assert f"  batch 3, length {steps}: compiled, 1 ms when it was measured" in lines
        assert f"  other lengths: {words}" in lines
        assert of_batches in lines

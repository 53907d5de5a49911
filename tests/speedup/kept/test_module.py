"""`fast.save(folder)` and `rnnbench.load_fastest(folder)`: compiled code is a stand-in, but for one real package."""

import copy
import json
import math
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.rnn import pack_sequence

import rnnbench
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.errors import UserError
from rnnbench.kernels import recurrence
from rnnbench.speedup.kept import manifest
from rnnbench.speedup.kept import module as kept_module
from tests.adapt.layers import BatchFirst
from tests.doubles.packages import FakeCompiler, installed

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCompiler]:
    """Compiled code is plain Python."""
    with installed(monkeypatch) as compiler:
        yield compiler


def row(input: Tensor, way: str, **more: Any) -> dict[str, Any]:
    """Return a row of the table of ways; `input`: (seq, batch, ...)."""
    return {
        "seq_len": input.shape[0],
        "batch_size": input.shape[1],
        "input_size": input[0, 0].numel(),
        "dtype": str(input.dtype)[6:],
        "device": "cpu",
        "threads": 1,
        "phase": "inference",
        "way": way,
        "seconds": 0.001,
        "ratio": 0.5,
        **more,
    }


def saved(
    folder: Path, module: nn.Module, input: Any, way: str = "compiled", *, turns: bool = False, **more: Any
) -> Path:
    """Save a module at one shape without a search; `turns`: its input is (batch, seq, ...)."""
    tensor = input[0] if isinstance(input, tuple) else input
    rows = [row(tensor.transpose(0, 1) if turns else tensor, way, **more)]
    return rnnbench.fastest(module, input, ways=rows, progress=False).save(folder / "kept", progress=False)


class Plain(nn.Module):
    """A cell whose class the loading process does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4 + 6, 6)
        self.register_buffer("scale", torch.full((6,), 0.5), persistent=False)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.inner(torch.cat((x, h), 1)) * self.scale)


class Named(Plain):
    """The same, with the output beside the state."""

    def forward(self, x: Tensor, prev: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        new = super().forward(x, prev)
        return new, new


class Learned(Plain):
    """Begins with a state that it has learned."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.rand(6))

    def init_state(self, batch_size: int) -> Tensor:
        return self.first.expand(batch_size, 6)


class Classifier(nn.Module):
    """Reads whole numbers, and gives outputs alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.layer, self.head = nn.Embedding(9, 4), nn.GRU(4, 6), nn.Linear(6, 3)

    def forward(self, input: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.layer(self.embed(input))[0])
        return outputs


def expected(module: nn.Module, input: Tensor, state: Any = None) -> Any:
    is_cell = isinstance(module, Plain | GRUCell | LSTMCell)
    given = rnnbench.unroll(module) if is_cell else module
    return given(input) if state is None else given(input, state)


@pytest.mark.parametrize(("way", "steps"), [("compiled", 1), ("prepacked", 130)])
@pytest.mark.parametrize("kind", [GRUCell, LSTMCell, Plain, Named])
def test_a_cell_is_loaded_without_its_class_and_computes_the_same(
    tmp_path: Path, fake: FakeCompiler, kind: Any, way: str, steps: int
) -> None:
    cell, input = kind(4, 6) if kind in (GRUCell, LSTMCell) else kind(), torch.randn(steps, 3, 4)
    loaded = rnnbench.load_fastest(saved(tmp_path, cell, input, way))
    before = fake.calls
    with torch.no_grad():
        found = loaded(input)
        torch.testing.assert_close(found, expected(cell, input))
        torch.testing.assert_close(loaded(input, found[1]), expected(cell, input, found[1]))
        torch.testing.assert_close(loaded(input, hx=found[1]), expected(cell, input, found[1]))
    assert fake.calls - before == 3 * -(-steps // 64)
    assert {type(each).__name__ for each in loaded.modules()} <= {"KeptModule", "Module"}


@pytest.mark.parametrize(
    ("layer", "steps"),
    [
        (nn.RNN(4, 6), 5),
        (nn.LSTM(4, 6, bias=False), 70),
        (nn.GRU(4, 6, num_layers=2, bidirectional=True), 5),
        (nn.LSTM(4, 6, num_layers=3, batch_first=True), 70),
        (nn.GRU(4, 6).double(), 5),
    ],
)
def test_a_layer_runs_its_kept_shape_by_compiled_code_and_refuses_others(
    tmp_path: Path, fake: FakeCompiler, layer: Any, steps: int
) -> None:
    def input_of(length: int) -> Tensor:
        sizes = (3, length, 4) if layer.batch_first else (length, 3, 4)
        return torch.randn(sizes, dtype=layer.weight_ih_l0.dtype)

    folder = saved(tmp_path, layer, input_of(steps), turns=layer.batch_first)
    loaded = rnnbench.load_fastest(folder)
    assert len(fake.made) == 1
    assert loaded.state_dict().keys() == layer.state_dict().keys()
    with torch.no_grad(), warnings.catch_warnings(action="error"):
        torch.testing.assert_close(loaded(input_of(steps) * 0), layer(input_of(steps) * 0))
    before = fake.calls
    with torch.no_grad(), pytest.raises(ValueError, match=rf"length {steps + 1} is not kept; .*keeps batch 3, length"):
        loaded(input_of(steps + 1))
    assert fake.calls == before


@pytest.mark.usefixtures("fake")
def test_a_long_sequence_in_two_directions_is_kept_as_given(tmp_path: Path) -> None:
    layer, input = nn.GRU(4, 6, bidirectional=True), torch.randn(65, 3, 4)
    loaded = rnnbench.load_fastest(saved(tmp_path, layer, input))
    [shape] = loaded.manifest.shapes
    assert (shape.way, shape.reason) == ("as given", "compiled code of two directions is kept for at most 64 steps")
    with torch.no_grad():
        torch.testing.assert_close(loaded(input), layer(input))


def test_an_own_module_for_sequences_of_numbers_keeps_its_form(tmp_path: Path, fake: FakeCompiler) -> None:
    module, input = Classifier().eval(), torch.randint(9, (5, 3))
    loaded = rnnbench.load_fastest(saved(tmp_path, module, input))
    other = torch.randint(9, (5, 3))
    with torch.inference_mode():
        torch.testing.assert_close(loaded(other), module(other))
    with torch.no_grad(), pytest.raises(ValueError, match="a call with a state is not kept"):
        loaded(other, torch.zeros(1, 3, 6))
    assert fake.calls


@pytest.mark.parametrize("has_state", [True, False])
def test_a_module_that_reads_the_batch_first_does_so_when_it_is_loaded(
    tmp_path: Path, fake: FakeCompiler, has_state: bool
) -> None:
    module, tensor = BatchFirst(nn.LSTM(4, 6)), torch.randn(3, 5, 4)
    state = tuple(torch.randn(1, 3, 6) for _ in range(2)) if has_state else None
    input = (tensor, state) if has_state else tensor
    loaded = rnnbench.load_fastest(saved(tmp_path, module, input, turns=True))
    with torch.no_grad():
        torch.testing.assert_close(loaded(tensor, state), module(tensor, state))
        if has_state:
            with pytest.raises(ValueError, match="a call without a state begins with the module's own"):
                loaded(tensor)
    assert fake.calls


def test_weights_that_change_count_in_the_next_call(tmp_path: Path, fake: FakeCompiler) -> None:
    input = torch.randn(5, 3, 4)
    for module in (Plain(), nn.GRU(4, 6)):
        folder = saved(tmp_path / type(module).__name__, module, input)
        loaded = rnnbench.load_fastest(folder)
        path = "inner.weight" if isinstance(module, Plain) else "weight_hh_l0"
        other = {name: torch.randn_like(value) for name, value in module.state_dict().items()}
        again = {name: torch.randn_like(value) for name, value in module.state_dict().items()}
        for change in (
            lambda each, path=path: each.get_parameter(path).data.mul_(0.3),
            lambda each, other=other: each.load_state_dict(other),
            lambda each, again=again: each.load_state_dict(
                {name: value.clone() for name, value in again.items()}, assign=True
            ),
        ):
            change(loaded)
            change(module)
            with torch.no_grad():
                torch.testing.assert_close(loaded(input), expected(module, input))
        assert fake.calls


def test_weights_of_another_form_are_never_given_to_compiled_code(tmp_path: Path, fake: FakeCompiler) -> None:
    input = torch.randn(5, 3, 4)
    layer = nn.GRU(4, 6)
    loaded = rnnbench.load_fastest(saved(tmp_path, layer, input)).double()
    before = fake.calls
    with torch.no_grad(), pytest.raises(ValueError, match=r"weight_ih_l0 has another shape, order, type or device"):
        loaded(input)
    alone = rnnbench.load_fastest(saved(tmp_path / "cell", Plain(), input))
    weight: Any = alone.inner.weight
    weight.data = weight.data.t().contiguous().t()  # equal values, in another order
    before = fake.calls
    with torch.no_grad(), pytest.raises(ValueError, match=r"inner\.weight has another shape, order, type"):
        alone(input)
    assert fake.calls == before


def test_what_compiled_code_does_not_do_is_refused_with_what_is_kept(tmp_path: Path, fake: FakeCompiler) -> None:
    layer, input = nn.LSTM(4, 6), torch.randn(5, 3, 4)
    loaded = rnnbench.load_fastest(saved(tmp_path, layer, input))
    before = fake.calls
    others: tuple[tuple[Any, str], ...] = (
        (input.clone().requires_grad_(), "gradients are needed"),
        (pack_sequence([torch.randn(3, 4), torch.randn(2, 4)]), "the input is no batch of sequences"),
        (input[:, 0], "the input is no batch of sequences"),
        (input.double(), r"the input is \(5, 3, 4\) of torch.float64"),
        (input.to("meta"), "the input is on meta"),
        (torch.randn(9, 2, 4), "batch 2, length 9 is not kept"),
    )
    for other, words in others:
        with pytest.raises(ValueError, match=rf"{words}.*; .* keeps batch 3, length 5 of LSTM, without gradients"):
            loaded(other)
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match="autocast is on"):
        loaded(input)
    with pytest.raises(ValueError, match=re.escape("state: expected (1, 3, 6) and (1, 3, 6) as (layers, batch, ...)")):
        loaded(input, (torch.zeros(1, 2, 6), torch.zeros(1, 2, 6)))
    zeros = torch.zeros(1, 3, 6)
    for other, words in ((zeros.double(), "torch.float64 on cpu"), (zeros.to("meta"), "torch.float32 on meta")):
        with pytest.raises(ValueError, match=rf"state: expected torch.float32, .* found torch.float32 on cpu, {words}"):
            loaded(input, (zeros, other))
    assert fake.calls == before
    with torch.autocast("cpu", torch.bfloat16, enabled=False):
        loaded(input)
    assert fake.calls == before + 1


def test_a_cell_with_a_first_state_of_its_own_is_given_it(tmp_path: Path, fake: FakeCompiler) -> None:
    cell, input, state = Learned(), torch.randn(5, 3, 4), torch.rand(1, 3, 6)
    loaded = rnnbench.load_fastest(saved(tmp_path, cell, input))
    before = fake.calls
    with torch.no_grad():
        torch.testing.assert_close(loaded(input, state), expected(cell, input, state))
        with pytest.raises(ValueError, match="a call without a state begins with the module's own"):
            loaded(input)
    assert fake.calls == before + 1


@pytest.mark.usefixtures("fake")
def test_a_layer_stays_the_layer_where_that_is_fastest(tmp_path: Path) -> None:
    layer, input = nn.LSTM(4, 6), torch.randn(5, 3, 4)
    folder = saved(tmp_path, layer, input, "as given")
    loaded = rnnbench.load_fastest(folder)
    with torch.no_grad(), warnings.catch_warnings(action="error"):
        torch.testing.assert_close(loaded(input), layer(input))
    assert "batch 3, length 5: as given" in repr(loaded)
    assert not list(folder.glob("*.pt2"))


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("kind", [GRUCell, nn.LSTMCell])
def test_a_cell_that_runs_as_a_layer_of_torch_needs_neither_class_nor_compiler(tmp_path: Path, kind: Any) -> None:
    cell, input = kind(4, 6), torch.randn(5, 3, 4)
    folder = saved(tmp_path, cell, input, "torch.nn")
    loaded = rnnbench.load_fastest(folder)
    with torch.no_grad():
        torch.testing.assert_close(loaded(input), rnnbench.unroll(cell)(input))
        loaded.load_state_dict({name: torch.randn_like(value) for name, value in cell.state_dict().items()})
        cell.load_state_dict(loaded.state_dict())
        torch.testing.assert_close(loaded(input), rnnbench.unroll(cell)(input))
    assert not list(folder.glob("*.pt2"))


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("module", "cell"),
    [
        (nn.LSTM(4, 6, num_layers=2, bidirectional=True), "lstm"),
        (nn.LSTMCell(4, 6), "lstm"),
        (LSTMCell(4, 6), "lstm"),
        (nn.GRU(4, 6, num_layers=2), "gru"),
        (nn.RNNCell(4, 6), "rnn_tanh"),
    ],
)
def test_a_fused_layer_is_kept_with_its_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, cell: str
) -> None:
    input = torch.randn(5, 3, 4)
    folder = saved(tmp_path, module, input, "fused")
    [library] = folder.glob(f"rnnbench-{cell.partition('_')[0]}-*.so")
    loaded = rnnbench.load_fastest(folder)
    assert [*recurrence._given] == [cell]
    library.unlink()
    like = module if isinstance(module, nn.RNNBase) else rnnbench.unroll(module)
    with torch.no_grad(), warnings.catch_warnings(action="error"):
        torch.testing.assert_close(loaded(input), like(input))


def test_pruned_weights_of_a_loaded_module_are_refused_in_one_sentence(tmp_path: Path, fake: FakeCompiler) -> None:
    layer = nn.GRU(4, 6)
    loaded = rnnbench.load_fastest(saved(tmp_path, layer, torch.randn(5, 3, 4)))
    before = fake.calls
    prune.random_unstructured(loaded, "weight_hh_l0", amount=0.5)
    with torch.no_grad(), pytest.raises(ValueError, match="weight_hh_l0 is no longer a parameter of this module"):
        loaded(torch.randn(5, 3, 4))
    assert fake.calls == before


def test_a_loaded_module_needs_its_folder_no_longer_nor_the_right_to_write_to_it(
    tmp_path: Path, fake: FakeCompiler
) -> None:
    cell = Plain()
    folder = saved(tmp_path, cell, torch.randn(5, 3, 4))
    elsewhere = folder.rename(tmp_path / "copied elsewhere")
    for file in (*elsewhere.iterdir(), elsewhere):
        file.chmod(0o555 if file.is_dir() else 0o444)
    loaded = rnnbench.load_fastest(elsewhere)
    elsewhere.chmod(0o755)
    shutil.rmtree(elsewhere)
    input = torch.randn(5, 3, 4)
    with torch.no_grad():
        torch.testing.assert_close(loaded(input), expected(cell, input))
    assert fake.calls


class Dropping(Plain):
    """Does something else in training."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return super().forward(x, h) * (0.5 if self.training else 1.0)


@pytest.mark.usefixtures("fake")
def test_evaluation_mode_is_kept_and_training_mode_is_refused(tmp_path: Path) -> None:
    cell, input = Dropping(), torch.randn(5, 3, 4)
    loaded = rnnbench.load_fastest(saved(tmp_path, cell, input))
    assert cell.training
    assert not loaded.training
    with torch.no_grad():
        torch.testing.assert_close(loaded(input), expected(cell.eval(), input))
        with pytest.raises(ValueError, match="the module is in training mode, and evaluation mode is kept"):
            loaded.train()(input)


def test_a_copy_has_weights_of_its_own_and_is_not_pickled(tmp_path: Path, fake: FakeCompiler) -> None:
    input = torch.randn(5, 3, 4)
    loaded = rnnbench.load_fastest(saved(tmp_path, Plain(), input))
    with torch.no_grad():
        before, copied = loaded(input), copy.deepcopy(loaded)
        copied.get_parameter("inner.weight").zero_()
        torch.testing.assert_close(loaded(input), before)
        assert not torch.equal(copied(input)[0], before[0])
    with pytest.raises(TypeError, match="load its folder"):
        pickle.dumps(loaded)
    assert fake.calls


def test_a_folder_that_computes_something_else_here_is_refused(tmp_path: Path, fake: FakeCompiler) -> None:
    input = torch.randn(5, 3, 4)
    folder = saved(tmp_path, Plain(), input)
    for scale in (1.01, float("nan")):
        fake.scale = scale
        with pytest.raises(
            UserError, match=r"the results of its trial input \(batch 3, length 5\) are off by .* again"
        ):
            rnnbench.load_fastest(folder)
    with pytest.raises(UserError, match="the results of its trial input"):
        saved(tmp_path / "other", Plain(), input)
    assert not (tmp_path / "other" / "kept").exists()
    assert not list((tmp_path / "other").iterdir())


@pytest.mark.usefixtures("fake")
def test_reading_the_folder_imports_neither_pandas_nor_a_compiler(tmp_path: Path) -> None:
    layer = nn.GRU(4, 6)
    folder = saved(tmp_path, layer, torch.randn(5, 3, 4), "as given")
    code = f"""
import sys, torch
before = set(sys.modules)
import rnnbench
module = rnnbench.load_fastest({str(folder)!r})
with torch.no_grad():
    module(torch.randn(5, 3, 4))
heavy = {{"pandas", "scipy", "rich", "matplotlib", "torch._inductor", "torch._dynamo", "torch.export"}}
sys.exit(f"loaded: {{(sys.modules.keys() - before) & heavy}}" if (sys.modules.keys() - before) & heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


REAL = """
import sys, torch, rnnbench
from concurrent.futures import ThreadPoolExecutor
torch.set_num_threads(1)
loaded = rnnbench.load_fastest(sys.argv[1])
trial = torch.load(sys.argv[1] + "/trial.pt", weights_only=True)[0]
with torch.inference_mode():
    outputs, _ = loaded(trial["input"])
assert "torch._inductor" not in sys.modules
torch.testing.assert_close(outputs, trial["outputs"], rtol=1e-4, atol=1e-5)
with ThreadPoolExecutor(2) as threads, torch.inference_mode():
    for found, _ in threads.map(lambda _: loaded(trial["input"]), range(200)):
        torch.testing.assert_close(found, outputs, rtol=0, atol=0)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiler")
def test_a_real_package_that_calls_rnnbench_s_own_products_runs_in_a_fresh_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnbench.kernels import routing

    monkeypatch.setattr(routing, "fastest_library", lambda products: "rnnbench")  # whatever the machine does now
    torch.manual_seed(0)
    folder = saved(tmp_path, GRUCell(4, 32), torch.randn(3, 2, 4), "prepacked")
    about = json.loads((folder / manifest.MANIFEST).read_text())
    assert about["libraries"]
    assert about["shapes"][0]["compile_seconds"] > 0
    done = subprocess.run([sys.executable, "-c", REAL, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded: Any = kept_module.load(folder)
    loaded.load_state_dict({name: 2 * value for name, value in loaded.state_dict().items()})
    cell = GRUCell(4, 32)
    cell.load_state_dict(loaded.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(loaded(torch.ones(3, 2, 4)), rnnbench.unroll(cell)(torch.ones(3, 2, 4)))


def test_an_error_is_a_share_of_the_largest_value() -> None:
    one = torch.tensor([-4.0, 1.0])
    assert kept_module.relative_error(one + torch.tensor([0.0, 0.4]), one) == pytest.approx(0.1)
    assert kept_module.relative_error(one.double(), one) == kept_module.relative_error(one[:1], one) == math.inf
    assert math.isnan(kept_module.relative_error(one * math.nan, one))
    assert kept_module.relative_error(one[:0], one[:0]) == 0.0

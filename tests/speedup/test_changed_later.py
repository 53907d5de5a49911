"""What a user changes after the search: each call still computes what the module itself does, or says why not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils import parametrizations, parametrize, prune

import rnnbench
from rnnbench.cells.gru import GRUCell
from rnnbench.speedup import search
from rnnbench.speedup.ways import WayName
from tests.adapt.test_kinds import CHANGES, Halved, Plain

pytestmark = pytest.mark.usefixtures("one_thread", "quick_compiler")
INPUT = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0))
LAYERS = [nn.GRU, nn.LSTM, nn.RNN]


def fast(module: Any, way: WayName = "hoisted", input: Any = INPUT) -> Any:
    """The module in this way at every shape, without a search."""
    steps, batch, features = (input[0] if isinstance(input, tuple) else input).shape
    shape = {"seq_len": steps, "batch_size": batch, "input_size": features, "dtype": "float32", "device": "cpu"}
    rows = [{**shape, "threads": 1, "phase": phase, "way": way} for phase in ("inference", "training")]
    return rnnbench.fastest(module, input, ways=rows)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["weight_hh_l0", "bias_hh_l0"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_that_is_changed_later_is_what_it_is(kind: Any, name: str, change: str) -> None:
    layer = kind(5, 6)
    found = fast(layer)
    found(INPUT)
    CHANGES[change](layer, name)
    torch.testing.assert_close(found(INPUT), layer(INPUT))


@pytest.mark.parametrize("way", ["as given", "hoisted"])
@pytest.mark.parametrize(
    "change",
    [
        lambda module: parametrizations.spectral_norm(module, "weight_hh_l0"),
        lambda module: parametrize.register_parametrization(module, "bias_hh_l0", Halved()),
    ],
)
def test_weights_of_the_result_can_t_be_parametrized(way: WayName, change: Callable[[nn.Module], object]) -> None:
    found = fast(nn.LSTM(5, 6), way)
    change(found)
    with pytest.raises(
        RuntimeError, match=r"_hh_l0 is no longer one of this module's parameters. Prune or parametrize"
    ):
        found(INPUT)


@pytest.mark.parametrize("way", ["as given", "hoisted"])
def test_weights_of_the_result_can_be_pruned_as_those_of_the_layer(way: WayName) -> None:
    layer = nn.LSTM(5, 6)
    found = fast(layer, way)
    before = found(INPUT)[0]
    prune.l1_unstructured(found, "weight_hh_l0", 0.5)
    torch.testing.assert_close(found(INPUT), layer(INPUT))
    assert not torch.allclose(found(INPUT)[0], before)


@pytest.mark.parametrize("way", ["as given", "hoisted"])
def test_hooks_run_whenever_they_come(way: WayName) -> None:
    calls: list[str] = []
    for module, name in ((nn.GRU(5, 6), "layer"), (GRUCell(5, 6), "cell")):
        found = fast(module, way)
        found(INPUT)
        handle = module.register_forward_hook(lambda *_, name=name: calls.append(name))
        found(INPUT)
        handle.remove()
        found(INPUT)
    assert calls == ["layer", *["cell"] * len(INPUT)]


class Tied(nn.GRUCell):
    """Has the two parts of a step, so that products of the input can be hoisted."""

    def project(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight_ih, self.bias_ih)

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        r, z, n = projected.chunk(3, -1)
        of_r, of_z, of_n = nn.functional.linear(h, self.weight_hh, self.bias_hh).chunk(3, -1)
        return torch.lerp(torch.tanh(n + torch.sigmoid(r + of_r) * of_n), h, torch.sigmoid(z + of_z))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:  # type: ignore[override]
        return self.advance(self.project(x), h)


@pytest.mark.parametrize("way", ["hoisted", "compiled"])
def test_a_pruned_weight_is_never_stale(way: WayName) -> None:
    cell: Any = Tied(5, 8)
    prune.l1_unstructured(cell, "weight_hh", 0.3)
    found = fast(cell, way)
    with torch.no_grad():
        found(INPUT)
        cell.weight_hh_orig.mul_(3)
        outputs, _ = found(INPUT)
        h = torch.zeros(3, 8)
        for x, output in zip(INPUT, outputs, strict=True):
            h = cell(x, h)
            torch.testing.assert_close(output, h)


@pytest.mark.parametrize(
    ("module", "states"),
    [
        (nn.GRU(5, 6), [(3, 6), (1, 1, 6), (2, 3, 6), (1, 3, 5)]),
        (nn.GRU(5, 8, num_layers=2), [(4, 3, 8), (2, 1, 8), (3, 8)]),
        (nn.GRUCell(5, 6), [(3, 6), (1, 1, 6), (3, 3, 6)]),
    ],
)
def test_a_state_of_another_shape_is_an_error(module: nn.Module, states: list[tuple[int, ...]]) -> None:
    modules = [fast(module, "hoisted" if isinstance(module, nn.GRU) else "as given")]
    if isinstance(module, nn.GRUCell):
        modules.append(rnnbench.unroll(module))
    for each in modules:
        each(INPUT)
        for shape in states:
            with pytest.raises(ValueError, match=r"state: expected \(\d, 3, \d\) as \(layers, batch, ...\), found \("):
                each(INPUT, torch.zeros(shape))


def test_a_cell_runs_batches_of_sequences_alone() -> None:
    found = fast(nn.LSTMCell(5, 6), "as given")
    for input in (INPUT[:, 0], nn.utils.rnn.pack_sequence([INPUT[:, 0]])):
        with pytest.raises(ValueError, match=r"input: expected \(seq, batch, features\), found"):
            found(input)


@torch.no_grad()
def test_forward_mode_and_transforms_are_those_of_the_module() -> None:
    cell, input = Plain(), INPUT[:2]
    found, unrolled = fast(cell, "compiled", input), rnnbench.unroll(cell)
    found(input)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(input, torch.ones_like(input))
        ours, theirs = (forward_ad.unpack_dual(module(dual)[0]).tangent for module in (found, unrolled))
        assert ours is not None
        torch.testing.assert_close(ours, theirs)
    inputs = torch.randn(4, 2, 3, 5)
    each = torch.stack([unrolled(input)[0] for input in inputs])
    torch.testing.assert_close(torch.vmap(lambda input: found(input)[0])(inputs), each)


def test_a_module_found_with_a_state_makes_its_own_without_one() -> None:
    class OwnStart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(5, 6)
            self.first = nn.Parameter(torch.rand(1, 1, 6))

        def forward(self, input: Tensor, h: Tensor | None = None) -> Any:
            return self.layer(input, self.first.expand(1, input.shape[1], 6).contiguous() if h is None else h)

    module = OwnStart()
    found = fast(module, "compiled", (INPUT, torch.zeros(1, 3, 6)))
    with torch.no_grad():
        torch.testing.assert_close(found(INPUT), module(INPUT))


class Dropping(Tied):
    """Forgets a part of its state in training."""

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        return super().advance(projected, nn.functional.dropout(h, 0.5, self.training))


@torch.no_grad()
@pytest.mark.parametrize(
    ("module", "way"), [(nn.LSTM(5, 6, num_layers=2, dropout=0.5), "hoisted"), (Dropping(5, 8), "compiled")]
)
def test_random_numbers_are_those_of_the_module_as_given(module: Any, way: WayName) -> None:
    found = fast(module.eval(), way)
    as_given = module if isinstance(module, nn.LSTM) else rnnbench.unroll(module)
    assert "in training mode as given, since it draws random numbers there" in repr(found)
    found.train()
    for part in (module, *module.children()):  # the module as a whole, and one part of it alone
        found.eval()
        part.train()
        results = []
        for run in (found, as_given):
            torch.manual_seed(3)
            results.append(run(INPUT)[0])
        torch.testing.assert_close(*results, rtol=0, atol=0)


@torch.no_grad()
def test_a_search_within_autocast_is_for_calls_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "names", lambda *_: ["as given", "hoisted"])
    layer = nn.LSTM(5, 6).eval()
    with torch.autocast("cpu", torch.bfloat16):
        found = rnnbench.fastest(layer, INPUT, budget=0.1, progress=False)
        torch.testing.assert_close(found(INPUT), layer(INPUT), rtol=0.05, atol=0.05)
        assert "autocast to bfloat16" in found.frame.dtype[0]
    torch.testing.assert_close(found(INPUT), layer(INPUT), rtol=0, atol=0)

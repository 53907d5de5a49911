"""What a user changes after the search: each call still computes what the module itself does, or says why not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils import prune

import rnnbench
from rnnbench.speedup import search
from rnnbench.speedup.ways import WayName
from tests.adapt.test_kinds import CHANGES, Plain

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


def test_an_unrolled_cell_that_was_never_called_can_be_compiled() -> None:
    cell = nn.GRUCell(5, 6)
    compiled = torch.compile(rnnbench.unroll(cell), backend="eager")
    torch.testing.assert_close(compiled(INPUT), rnnbench.unroll(cell)(INPUT))


@pytest.mark.parametrize("way", ["as given", "hoisted"])
def test_weights_of_the_result_can_be_pruned_as_those_of_the_layer(way: WayName) -> None:
    layer = nn.LSTM(5, 6)
    found = fast(layer, way)
    before = found(INPUT)[0]
    prune.l1_unstructured(found, "weight_hh_l0", 0.5)
    torch.testing.assert_close(found(INPUT), layer(INPUT))
    assert not torch.allclose(found(INPUT)[0], before)


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


@torch.no_grad()
def test_a_search_within_autocast_is_for_calls_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "names", lambda *_: ["as given", "hoisted"])
    layer = nn.LSTM(5, 6).eval()
    with torch.autocast("cpu", torch.bfloat16):
        found = rnnbench.fastest(layer, INPUT, budget=0.1, progress=False)
        torch.testing.assert_close(found(INPUT), layer(INPUT), rtol=0.05, atol=0.05)
        assert "autocast to bfloat16" in found.frame.dtype[0]
    torch.testing.assert_close(found(INPUT), layer(INPUT), rtol=0, atol=0)

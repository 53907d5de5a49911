"""The module that `fastest` returns: the given weights under their own names, and the way for each shape."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from rnnbench.adapt.kinds import Kind, RunModule
from rnnbench.cells.gru import GRUCell
from rnnbench.report.notebook.live import FastestModule
from rnnbench.speedup import ways
from rnnbench.speedup.module import CallShape, ways_table
from rnnbench.speedup.ways import WayName
from rnnbench.workloads import compiled

pytestmark = pytest.mark.usefixtures("one_thread", "_not_compiled")


@pytest.fixture
def _not_compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compiled ways run as plain Python."""
    monkeypatch.setattr(compiled, "compiled", lambda function, implementation: function)
    ways.way.cache_clear()
    yield
    ways.way.cache_clear()


def shape(seq_len: int = 5, batch_size: int = 3, *, trains: bool = False, dtype: str = "float32") -> CallShape:
    return CallShape(seq_len, batch_size, 4, dtype, "cpu", 1, "training" if trains else "inference")


RATIO = {"seconds": 1e-3, "ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.6}


def row(at: CallShape, way: WayName, **more: Any) -> dict[str, Any]:
    return {**asdict(at), "way": way, **RATIO, **more}


def chosen(*choices: tuple[CallShape, WayName]) -> list[dict[str, Any]]:
    return [row(*choice) for choice in choices]


HOISTED = chosen((shape(), "hoisted"), (shape(trains=True), "hoisted"))


def fast(
    given: nn.Module,
    kind: Kind = "layer",
    rows: Sequence[dict[str, Any]] | Path = HOISTED,
    zero_state: Sequence[tuple[int, int]] = ((1, 6),),
) -> FastestModule:
    is_batch_first = getattr(given, "batch_first", False)
    like = tuple(torch.zeros(layers, 1, size) for layers, size in zero_state)
    return FastestModule(RunModule(given, kind, like, is_batch_first=is_batch_first), ways_table(rows))


LAYERS = [
    (nn.GRU(4, 6), ((1, 6),)),
    (nn.RNN(4, 6), ((1, 6),)),
    (nn.LSTM(4, 6), ((1, 6), (1, 6))),
    (nn.GRU(4, 6, bias=False), ((1, 6),)),
    (nn.LSTM(4, 6, num_layers=2, bidirectional=True), ((4, 6), (4, 6))),
    (nn.GRU(4, 6, num_layers=3, batch_first=True), ((3, 6),)),
]


@pytest.mark.parametrize(("layer", "zero_state"), LAYERS)
@pytest.mark.parametrize("has_state", [True, False])
def test_a_layer_s_outputs_states_and_gradients_are_those_of_the_layer(
    layer: nn.Module, zero_state: Any, has_state: bool
) -> None:
    torch.manual_seed(0)
    by_step = torch.randn(5, 3, 4)
    input = by_step.transpose(0, 1).contiguous() if getattr(layer, "batch_first", False) else by_step
    states = tuple(torch.randn(layers, 3, hidden) for layers, hidden in zero_state)
    state = None if not has_state else states if len(states) > 1 else states[0]
    module = fast(layer, zero_state=zero_state)
    torch.testing.assert_close(module(input, state), layer(input, state))
    expected = torch.autograd.grad(layer(input, state)[0].square().sum(), list(layer.parameters()))
    gradients = torch.autograd.grad(module(input, state)[0].square().sum(), list(module.parameters()))
    torch.testing.assert_close(gradients, expected)


def test_names_of_weights_are_those_of_the_given_module_also_inside_another_model() -> None:
    layer = nn.LSTM(4, 6)
    module = fast(layer, zero_state=((1, 6), (1, 6)))
    assert [name for name, _ in module.named_parameters()] == [name for name, _ in layer.named_parameters()]
    model, plain = (nn.Sequential(each, nn.Identity()) for each in (module, nn.LSTM(4, 6)))
    model.load_state_dict(plain.state_dict())
    torch.testing.assert_close(dict(model.state_dict()), dict(plain.state_dict()))


@pytest.mark.parametrize("way", ["as given", "hoisted", "compiled", "prepacked"])
@pytest.mark.parametrize("kind", ["layer", "cell"])
def test_every_change_of_the_weights_is_seen(way: WayName, kind: Kind) -> None:
    torch.manual_seed(0)
    input = torch.randn(5, 3, 4)
    given: nn.Module = nn.GRU(4, 6) if kind == "layer" else GRUCell(4, 6)
    module = fast(given, kind, [*chosen((shape(), way)), *chosen((shape(trains=True), way))])
    name = "weight_hh_l0" if kind == "layer" else "weight_hh"

    def check() -> None:
        anew: nn.Module = nn.GRU(4, 6) if kind == "layer" else GRUCell(4, 6)
        anew.load_state_dict(module.state_dict())
        expected = fast(anew, kind, chosen((shape(), "as given")))(input)
        torch.testing.assert_close(module(input), expected)
        with torch.inference_mode():
            torch.testing.assert_close(module(input)[0], expected[0])

    def train() -> None:
        optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
        module(input)[0].square().sum().backward()
        optimizer.step()

    other = {key: torch.randn_like(value) for key, value in module.state_dict().items()}
    for change in (
        lambda: None,
        train,
        lambda: getattr(module, name).data.mul_(0.3),
        lambda: getattr(given, name).data.fill_(0.7),
        lambda: module.load_state_dict(other),
        lambda: module.load_state_dict({key: torch.randn_like(value) for key, value in other.items()}, assign=True),
        lambda: setattr(given, name, nn.Parameter(torch.randn_like(getattr(given, name)))),
    ):
        change()
        check()


def test_it_can_be_pickled_and_its_state_saved(tmp_path: Any) -> None:
    module, input = fast(nn.LSTM(4, 6), zero_state=((1, 6), (1, 6))), torch.randn(5, 3, 4)
    torch.testing.assert_close(pickle.loads(pickle.dumps(module))(input), module(input))
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    plain = nn.LSTM(4, 6)
    plain.load_state_dict(torch.load(tmp_path / "weights.pt"))
    torch.testing.assert_close(plain(input), module(input))


def test_all_attributes_are_those_of_the_given_module() -> None:
    layer: Any = nn.GRU(4, 6, num_layers=2, dropout=0.5)
    module: Any = fast(layer, zero_state=((2, 6),))
    assert isinstance(module, nn.GRU)
    module.eval().note = "mine"
    assert (layer.training, layer.note, module.hidden_size) == (False, "mine", 6)
    with pytest.raises(AttributeError, match="no_such"):
        _ = module.no_such


@pytest.mark.parametrize(
    ("asked", "way"),
    [
        (shape(5, 3), "hoisted"),
        (shape(40, 3), "compiled"),
        (shape(5, 100), "prepacked"),
        (shape(6, 3), "hoisted"),
        (shape(5, 3, trains=True), "as given"),
        (shape(5, 3, dtype="float64"), "as given"),
        (shape(5, 0), "as given"),
    ],
)
def test_other_shapes_run_as_the_nearest_that_was_measured(asked: CallShape, way: WayName) -> None:
    module = fast(
        nn.GRU(4, 6),
        rows=chosen((shape(5, 3), "hoisted"), (shape(64, 3), "compiled"), (shape(5, 64), "prepacked")),
    )
    assert module.way_for(asked) == way


def test_a_state_may_be_named_as_torch_s_layers_name_it() -> None:
    layer, input, h = nn.GRU(4, 6), torch.randn(5, 3, 4), torch.randn(1, 3, 6)
    torch.testing.assert_close(fast(layer)(input, hx=h), layer(input, hx=h))


class Masked(nn.Module):
    """Runs a sequence; a mask may be given by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(4, 6)

    def forward(self, input: Tensor, state: Tensor | None = None, mask: Tensor | None = None) -> Any:
        return self.layer(input if mask is None else input * mask, state)


def test_more_arguments_go_to_a_module_for_whole_sequences_and_are_an_error_for_a_cell() -> None:
    module, input, mask = Masked(), torch.randn(5, 3, 4), torch.zeros(5, 3, 1)
    made = fast(module, "sequence", zero_state=())
    torch.testing.assert_close(made(input, mask=mask), module(input, mask=mask))
    with pytest.raises(TypeError, match="mask: a cell takes only an input and a state"):
        fast(GRUCell(4, 6), "cell")(input, mask=mask)


def test_packed_and_unbatched_sequences_run_as_given() -> None:
    layer = nn.GRU(4, 6)
    module = fast(layer)
    packed = pack_sequence([torch.randn(5, 4), torch.randn(2, 4)])
    torch.testing.assert_close(module(packed)[0].data, layer(packed)[0].data)
    torch.testing.assert_close(module(torch.ones(5, 4)), layer(torch.ones(5, 4)))


def test_the_table_and_the_text_show_which_way_runs_which_shape(tmp_path: Path) -> None:
    failed = row(shape(), "prepacked", is_chosen=False, reason="there is no compiler")
    given = row(shape(), "as given", is_chosen=False)
    module = fast(nn.GRU(4, 6), rows=[given, *chosen((shape(), "hoisted")), failed])
    table = module.frame
    assert list(table["way"]) == ["as given", "hoisted", "prepacked"]
    assert list(table["is_chosen"]) == [False, True, False]
    assert set(table["phase"]) == {"inference"}
    assert repr(module).splitlines() == [
        "Fastest way to run GRU(4, 6)",
        "  batch 3, length 5, inference: hoisted, 1.00 ms, 0.500× (0.400–0.600) the time as given",
        "    prepacked is not used: there is no compiler",
        "  other sizes: as the nearest of these; anything else as given",
    ]
    table.to_csv(tmp_path / "ways.csv", index=False)
    assert repr(fast(nn.GRU(4, 6), rows=tmp_path / "ways.csv")) == repr(module)

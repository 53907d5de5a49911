"""The module that `fastest` returns: the given weights under their own names, a way for each shape, and later changes.

Whatever a user changes after the search, each call computes what the module itself does, or says why not.
"""

import pickle
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.autograd import forward_ad
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_sequence

import rnnbench
from rnnbench.adapt.kinds import RunModule
from rnnbench.cells.gru import GRUCell
from rnnbench.cli.fastest import fastest as command
from rnnbench.speedup import search, ways
from rnnbench.speedup.run_in_ways import as_given_shapes
from rnnbench.speedup.ways import WAYS, CallShape, WayName
from rnnbench.store import implementations
from rnnbench.workloads.processor import why_not
from tests.adapt.test_kinds import CHANGES, Plain

pytestmark = pytest.mark.usefixtures("one_thread", "not_compiled")
INPUT = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0))
LAYERS = [nn.GRU, nn.LSTM, nn.RNN]
ALL_WAYS = ", ".join(each.name for each in WAYS)
PAGE = Path(__file__).parents[2] / "docs" / "fastest.md"
LISTS = {  # where users read which ways are tried: a text, and what the list stands between
    "rnnbench fastest": (str(command.help), "These ways are tried", "are rejected"),
    "rnnbench.fastest": (str(rnnbench.fastest.__doc__), "These ways are tried", "A way is used only"),
    "docs/fastest.md": (PAGE.read_text(encoding="utf-8"), "It tries these ways", "It rejects a way"),
}


def shape(seq_len: int = 7, batch_size: int = 3, *, trains: bool = False, dtype: str = "float32") -> CallShape:
    return CallShape(seq_len, batch_size, 5, dtype, "cpu", 1, "training" if trains else "inference")


def row(at: CallShape, way: WayName, **more: Any) -> dict[str, Any]:
    return {**asdict(at), "way": way, "seconds": 1e-3, "ratio": 0.5, "ratio_low": 0.4, "ratio_high": 0.6, **more}


def fast(given: nn.Module, way: WayName = "hoisted", input: Any = INPUT, rows: Any = ()) -> Any:
    """The module in this way with gradients and without them, or as `rows` say, without a search."""
    return rnnbench.fastest(given, input, ways=rows or [row(shape(trains=trains), way) for trains in (False, True)])


@pytest.mark.parametrize(
    "layer",
    [
        nn.GRU(5, 6),
        nn.RNN(5, 6),
        nn.LSTM(5, 6),
        nn.GRU(5, 6, bias=False),
        nn.LSTM(5, 6, num_layers=2, bidirectional=True),
        nn.GRU(5, 6, num_layers=3, batch_first=True),
    ],
)
@pytest.mark.parametrize("has_state", [True, False])
def test_a_layer_s_outputs_states_and_gradients_are_those_of_the_layer(layer: nn.RNNBase, has_state: bool) -> None:
    input, results = INPUT.transpose(0, 1).contiguous() if layer.batch_first else INPUT, []
    with torch.no_grad():
        state = layer(input)[1] if has_state else None
    for run in (layer, fast(layer, input=input)):
        outputs, final = run(input, state)
        gradients = torch.autograd.grad(outputs.square().sum(), list(run.parameters()))
        results.append((outputs, final, gradients))
    torch.testing.assert_close(*results)


def test_it_has_the_names_the_attributes_and_the_class_of_the_given_module() -> None:
    layer: Any = nn.LSTM(5, 6)
    module = fast(layer)
    assert isinstance(module, nn.LSTM)
    model, plain = (nn.Sequential(each, nn.Identity()) for each in (module, nn.LSTM(5, 6)))
    model.load_state_dict(plain.state_dict())
    torch.testing.assert_close(dict(model.state_dict()), dict(plain.state_dict()))
    torch.testing.assert_close(pickle.loads(pickle.dumps(module))(INPUT), layer(INPUT))
    module.eval().note = "mine"
    assert (layer.training, layer.note, module.hidden_size) == (False, "mine", 6)
    with pytest.raises(AttributeError, match="no_such"):
        _ = module.no_such


@pytest.mark.parametrize("way", ["as given", "hoisted", "compiled", "prepacked"])
@pytest.mark.parametrize("kind", [nn.GRU, GRUCell])
def test_every_change_of_the_weights_is_seen(way: WayName, kind: Any) -> None:
    given = kind(5, 6)
    module, itself = fast(given, way), given if kind is nn.GRU else rnnbench.unroll(given)
    name = "weight_hh_l0" if kind is nn.GRU else "weight_hh"

    def train() -> None:
        optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
        module(INPUT)[0].square().sum().backward()
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
        expected = itself(INPUT)
        torch.testing.assert_close(module(INPUT), expected)
        with torch.inference_mode():
            torch.testing.assert_close(module(INPUT)[0], expected[0])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["weight_hh_l0", "bias_hh_l0"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_that_is_changed_later_is_what_it_is(kind: Any, name: str, change: str) -> None:
    layer = kind(5, 6)
    found = fast(layer)
    found(INPUT)
    CHANGES[change](layer, name)
    torch.testing.assert_close(found(INPUT), layer(INPUT))


@pytest.mark.parametrize(
    ("asked", "way"),
    [
        (shape(5, 3), "hoisted"),
        (replace(shape(5, 3), threads=2), "hoisted"),
        (shape(6, 3), "as given"),
        (shape(5, 4), "as given"),
        (shape(64, 3), "compiled"),
        (replace(shape(64, 3), threads=2), "as given"),  # it would be compiled again
        (shape(128, 3), "as given"),
        (shape(5, 3, trains=True), "as given"),
        (shape(5, 3, dtype="float64"), "as given"),
        (shape(5, 0), "as given"),
    ],
)
def test_what_was_not_measured_runs_as_given_and_other_threads_as_measured_if_nothing_is_compiled(
    asked: CallShape, way: WayName
) -> None:
    rows = [
        row(shape(5, 3), "hoisted"),
        row(shape(64, 3), "compiled"),
        row(shape(64, 3), "hoisted", is_chosen=False),
    ]
    assert fast(nn.GRU(5, 6), rows=rows).way_for(asked) == way


def python_calls(call: Callable[[], object]) -> int:
    """How many functions in Python a call of `call` calls."""
    made: list[str] = []
    call()
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, _: made.append(frame.f_code.co_name) if event == "call" else None)
    try:
        call()
    finally:
        sys.setprofile(before)
    return len(made)


AS_GIVEN_AT = {
    "every shape": [shape(7, 3)],
    "this shape": [shape(7, 3), shape(99, 3)],
    "this shape in both phases": [shape(7, 3), shape(7, 3, trains=True), shape(99, 3), shape(99, 3, trains=True)],
}


@pytest.mark.parametrize("at", AS_GIVEN_AT)
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_where_the_module_runs_as_given_one_function_in_python_stands_in_between(
    kind: Any, batch_first: bool, at: str
) -> None:
    layer = kind(5, 6, batch_first=batch_first).eval()
    input = INPUT.transpose(0, 1).contiguous() if batch_first else INPUT
    rows = [row(each, "as given" if each.seq_len == 7 else "hoisted") for each in AS_GIVEN_AT[at]]
    module = fast(layer, input=input, rows=rows)
    with torch.no_grad():
        _, state = layer(input)
        assert python_calls(lambda: module(input, state)) <= 2 + python_calls(lambda: layer(input, state))
        torch.testing.assert_close(module(input), layer(input))
        torch.testing.assert_close(module(input, state), layer(input, state))
        torch.testing.assert_close(module(input, hx=state), layer(input, hx=state))
        torch.testing.assert_close(module(input=input, state=state), layer(input, state))
        torch.testing.assert_close(module(input, None), layer(input))
        assert python_calls(lambda: module(input)) == 1 + python_calls(lambda: layer(input))


def test_a_shape_runs_as_given_in_all_kinds_of_calls_only_if_all_were_measured_there() -> None:
    layer = nn.GRU(5, 6)
    module = fast(layer, rows=[row(shape(7, 3), "as given"), row(shape(7, 3, trains=True), "hoisted")])
    assert module.way_for(shape(7, 3, trains=True)) == "hoisted"
    assert python_calls(lambda: module(INPUT)) > 2 + python_calls(lambda: layer(INPUT))


def test_a_state_may_be_named_as_torch_s_layers_name_it() -> None:
    layer, h = nn.GRU(5, 6), torch.randn(1, 3, 6)
    torch.testing.assert_close(fast(layer)(INPUT, hx=h), layer(INPUT, hx=h))


@pytest.mark.parametrize(
    ("module", "states"),
    [
        (nn.GRU(5, 6), [(3, 6), (1, 1, 6), (2, 3, 6), (1, 3, 5)]),
        (nn.GRU(5, 8, num_layers=2), [(4, 3, 8), (2, 1, 8), (3, 8)]),
        (nn.GRUCell(5, 6), [(3, 6), (1, 1, 6), (3, 3, 6)]),
    ],
)
def test_a_state_of_another_shape_is_an_error(module: nn.Module, states: list[tuple[int, ...]]) -> None:
    run = fast(module) if isinstance(module, nn.GRU) else rnnbench.unroll(module)
    run(INPUT)
    for state in states:
        with pytest.raises(ValueError, match=r"state: expected \(\d, 3, \d\) as \(layers, batch, ...\), found \("):
            run(INPUT, torch.zeros(state))


class Masked(nn.Module):
    """Runs a sequence; a mask may be given by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(5, 6)
        self.first = nn.Parameter(torch.rand(1, 1, 6))

    def forward(self, input: Tensor, state: Tensor | None = None, mask: Tensor | None = None) -> Any:
        h = self.first.expand(1, input.shape[1], 6).contiguous() if state is None else state
        return self.layer(input if mask is None else input * mask, h)


def test_more_arguments_go_to_a_module_for_whole_sequences_and_are_an_error_for_a_cell() -> None:
    module, mask = Masked(), torch.zeros(7, 3, 1)
    torch.testing.assert_close(fast(module)(INPUT, mask=mask), module(INPUT, mask=mask))
    with pytest.raises(TypeError, match="mask: a cell takes only an input and a state"):
        fast(GRUCell(5, 6))(INPUT, mask=mask)


def test_a_module_found_with_a_state_makes_its_own_without_one() -> None:
    module = Masked()
    found = fast(module, "compiled", (INPUT, torch.zeros(1, 3, 6)))
    with torch.no_grad():
        torch.testing.assert_close(found(INPUT), module(INPUT))


def test_packed_and_unbatched_sequences_of_a_layer_run_as_given_and_a_cell_runs_batches_alone() -> None:
    layer, unbatched, packed = nn.GRU(5, 6), INPUT[:, 0], pack_sequence([INPUT[:, 0], INPUT[:2, 1]])
    for input in (unbatched, packed):
        torch.testing.assert_close(tuple(fast(layer)(input)[0]), tuple(layer(input)[0]))
        with pytest.raises(ValueError, match=r"input: expected \(seq, batch, features\), found"):
            fast(nn.LSTMCell(5, 6), "as given")(input)


def test_the_table_and_the_text_show_which_way_runs_which_shape(tmp_path: Path) -> None:
    failed = row(shape(), "prepacked", is_chosen=False, reason="there is no compiler")
    given = row(shape(), "as given", is_chosen=False)
    module = fast(nn.GRU(5, 6), rows=[given, row(shape(), "hoisted"), failed])
    table = module.frame
    assert list(table["way"]) == ["as given", "hoisted", "prepacked"]
    assert list(table["is_chosen"]) == [False, True, False]
    assert repr(module).splitlines() == [
        "Fastest way to run GRU(5, 6)",
        "  batch 3, length 7, inference, 1 thread: hoisted, 1.00 ms, 0.500× (0.400–0.600) the time as given",
        "    prepacked is not used: there is no compiler",
        "  any other call: as given",
    ]
    table.to_csv(tmp_path / "ways.csv", index=False)
    assert repr(fast(nn.GRU(5, 6), rows=[row(shape(), "compiled", compile_seconds=22.0)])).splitlines()[1:] == [
        "  batch 3, length 7, inference, 1 thread: compiled, 1.00 ms, 0.500× (0.400–0.600) the time as given; compiled "
        "in 22.0 s, which 22,000 calls pay for",
        "  any other call: as given",
    ]
    assert repr(fast(nn.GRU(5, 6), rows=tmp_path / "ways.csv")) == repr(module)
    older = table.drop(columns="state")  # as versions wrote it that took no pulses
    older.to_csv(tmp_path / "older.csv", index=False)
    assert fast(nn.GRU(5, 6), rows=tmp_path / "older.csv").frame["state"].tolist() == ["", "", ""]
    shared = fast(nn.GRU(5, 6), rows=[given, row(shape(), "hoisted") | {"state": "on a shared core"}])
    assert "0.500× (0.400–0.600) the time as given, on a shared core" in repr(shared)
    with pytest.raises(ValueError, match=rf"ways: a row needs seq_len, .*, way; a way is one of {ALL_WAYS}$"):
        fast(nn.GRU(5, 6), rows=[row(shape(), "by magic")])  # type: ignore[arg-type]


def test_a_file_that_is_no_table_of_ways_is_refused_also_if_it_has_no_row(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("cell,seconds\n")
    with pytest.raises(ValueError, match="ways: a row needs seq_len, "):
        fast(nn.GRU(5, 6), rows=tmp_path / "other.csv")


def test_a_way_has_one_row_and_a_name_without_a_row_is_refused() -> None:
    assert tuple(each.name for each in WAYS) == get_args(WayName)
    unknown: Any = "by magic"
    with pytest.raises(ValueError, match=rf"^ways: a way is one of {ALL_WAYS}; not 'by magic'$"):
        ways.way("cell", unknown)


def test_the_compiled_ways_are_the_compiled_implementations_and_one_more_mode_of_torch_compile() -> None:
    assert [*ways.COMPILED] == [*implementations.COMPILED, "max-autotune"]
    assert [each.name for each in WAYS if each.is_mode] == ["reduce-overhead", "max-autotune"]


def test_a_module_for_whole_sequences_is_compiled_only_by_ways_that_compile() -> None:
    alone = [each.name for each in WAYS if ways.way("sequence", each.name) is ways.call]
    assert alone == [each.name for each in WAYS if not each.is_compiled]


@pytest.mark.parametrize("place", LISTS)
@pytest.mark.parametrize("name", [each.name for each in WAYS])
def test_users_read_of_each_way_where_the_ways_are_listed(place: str, name: str) -> None:
    text, start, end = LISTS[place]
    words = " ".join(text.partition(start)[2].partition(end)[0].split())
    assert re.search(rf"[(` ]{re.escape(name)}[`),;]", words), f"{place}: say what {name} does"


@torch.no_grad()
def test_forward_mode_and_transforms_are_those_of_the_module() -> None:
    cell, input = Plain(), INPUT[:2]
    found, unrolled = fast(cell, input=input, rows=[row(shape(2), "compiled")]), rnnbench.unroll(cell)
    found(input)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(input, torch.ones_like(input))
        ours, theirs = (forward_ad.unpack_dual(module(dual)[0]).tangent for module in (found, unrolled))
        assert ours is not None
        torch.testing.assert_close(ours, theirs)
    inputs = torch.randn(4, 2, 3, 5)
    each = torch.stack([unrolled(input)[0] for input in inputs])
    torch.testing.assert_close(torch.vmap(lambda input: found(input)[0])(inputs), each)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_a_search_within_autocast_is_for_calls_within_it(
    kind: Literal["GRU", "LSTM"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "possible_ways", lambda *_: dict.fromkeys(["as given", "hoisted"], ""))
    if reason := why_not(kind, "autocast to bfloat16", False):
        pytest.skip(f"this processor can't run {kind} in bfloat16: {reason}")
    layer = getattr(nn, kind)(5, 6).eval()
    with torch.autocast("cpu", torch.bfloat16):
        found = rnnbench.fastest(layer, INPUT, budget=0.1, progress=False)
        torch.testing.assert_close(found(INPUT), layer(INPUT), rtol=0.05, atol=0.05)
        assert "autocast to bfloat16" in found.frame.dtype[0]
    torch.testing.assert_close(found(INPUT), layer(INPUT), rtol=0, atol=0)


def test_an_unrolled_cell_that_was_never_called_can_be_compiled() -> None:
    cell = nn.GRUCell(5, 6)
    run = torch.compile(rnnbench.unroll(cell), backend="eager")
    torch.testing.assert_close(run(INPUT), rnnbench.unroll(cell)(INPUT))


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compiler")
def test_a_call_of_a_new_shape_or_in_another_mode_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # of the fixture that compiles nothing
    ways.way.cache_clear()
    cell = Plain()
    module = fast(cell, rows=[row(shape(4), "compiled")])
    inputs = [torch.randn(steps, batch, 5) for steps, batch in ((4, 3), (9, 3), (4, 2), (4, 1), (12, 7), (3, 3))]
    with torch.inference_mode():
        module(inputs[0])
        before = counters["stats"]["unique_graphs"]
        with pytest.warns(UserWarning, match="Plain runs as given at batch 3, length 9 on 1 thread, which was not"):
            outputs = [module(input) for input in inputs]
        torch.testing.assert_close(outputs, [rnnbench.unroll(cell)(input) for input in inputs])
    with torch.no_grad():
        module(inputs[0])
        module(inputs[0].transpose(0, 1).contiguous().transpose(0, 1))
    assert counters["stats"]["unique_graphs"] == before > 0


def test_a_size_that_was_not_searched_is_told_once_and_other_kinds_of_calls_are_not() -> None:
    module = fast(nn.GRU(5, 6), rows=[row(shape(7, 3), "hoisted"), row(shape(9, 3), "as given")])
    with warnings.catch_warnings(action="error"):
        with torch.no_grad():
            module(torch.randn(9, 3, 5))
        module(torch.randn(4, 2, 5, requires_grad=True))  # no training was searched
    inputs = torch.randn(4, 2, 5), torch.randn(5, 2, 5)
    with torch.no_grad(), pytest.warns(UserWarning, match="GRU runs as given at batch 2, length 4") as said:
        [module(input) for input in inputs]
    assert len(said) == 1


@pytest.mark.parametrize("way", ["as given", "hoisted", "fused"])
@pytest.mark.parametrize("put_on", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_parametrization_of_what_was_handed_back_is_refused_before_anything_changed(
    way: WayName, put_on: Any
) -> None:
    layer = nn.LSTM(5, 6)
    found = fast(layer, way)
    expected = layer(INPUT)[0]
    with pytest.raises(TypeError, match="weight_hh_l0: no weight of a module that rnnbench"):
        put_on(found, "weight_hh_l0")
    torch.testing.assert_close(found(INPUT)[0], expected)
    assert len(list(found.parameters())) == 4
    put_on(layer, "weight_hh_l0")  # seen in the next call
    layer.eval()  # in training, each call of a spectral norm makes another step
    found(INPUT)[0].sum().backward()
    torch.testing.assert_close(found(INPUT)[0], layer(INPUT)[0])
    assert all(each.grad is not None for each in layer.parameters())


def test_where_a_module_runs_as_given_is_known_by_the_shapes_of_inputs_and_whole_numbers_have_no_features() -> None:
    run = RunModule(nn.GRU(4, 6), "layer", (torch.zeros(1, 1, 6),))
    known: tuple[tuple[int, set[tuple[int, ...]]], ...] = ((4, {(5, 3, 4)}), (1, {(5, 3, 1), (5, 3)}))
    for features, expected in known:
        short, long = (CallShape(steps, 3, features, "float32", "cpu", 1, "inference") for steps in (5, 7))
        assert as_given_shapes(run, {short: "as given", long: "hoisted"}) == frozenset(expected)
        turned = frozenset((3, 7, *sizes[2:]) for sizes in expected)
        assert as_given_shapes(replace(run, is_batch_first=True), {long: "as given", short: "hoisted"}) == turned
        assert as_given_shapes(run, {short: "as given", long: "as given"}) is None
        assert as_given_shapes(run, {short: "as given", replace(short, threads=2): "hoisted"}) == frozenset()

"""Which arguments are accepted, and the messages for others."""

import math
import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.optim.optimizer import register_optimizer_step_post_hook

from rnnbench import explain, measure, sweep
from rnnbench.harness.live import live_cases as cases
from rnnbench.harness.live.live_cases import LiveCase, reference_of, timed_call
from rnnbench.harness.machine import global_state
from tests.adapt.layers import BatchFirst
from tests.harness.live import INPUT, QUICK, loop, pair

pytestmark = pytest.mark.usefixtures("one_thread", "short_turns")


def test_the_reference_is_the_only_torch_layer_or_the_first_or_the_one_asked_for() -> None:
    modules = pair()
    assert measure(modules, INPUT, **QUICK).reference == "torch"
    assert measure(modules, INPUT, reference="mine", **QUICK).reference == "mine"
    subclass: Any = type("Mine", (nn.LSTM,), {})
    assert reference_of({"a": loop(), "b": subclass(3, 5)}, None) == "a"
    assert reference_of({"a": loop(), "b": subclass(3, 5), **modules}, None) == "torch"
    assert reference_of({"a": loop(), **modules, "again": nn.LSTM(3, 5)}, None) == "a"


def test_arguments_are_a_tensor_a_tuple_or_for_each_module_its_own() -> None:
    state = (torch.randn(1, 2, 5), torch.randn(1, 2, 5))
    layer = nn.LSTM(3, 5)
    packed = pack_padded_sequence(INPUT, torch.tensor([4, 2]))
    for given in ((INPUT, state), packed):
        measured = measure({"a": layer, "b": layer}, given, phase="training", **QUICK)
        assert measured.frame["parity"]["b"] == "agrees"
    transposed = nn.LSTM(3, 5, batch_first=True)
    transposed.load_state_dict(layer.state_dict())
    own: dict[str, Any] = {"seq": INPUT, "batch": (INPUT.transpose(0, 1),)}
    modules: dict[str, Callable[..., object]] = {
        "seq": layer,
        "batch": lambda input: transposed(input)[0].transpose(0, 1),
    }
    assert measure(modules, own, **QUICK).frame["parity"]["batch"] == "agrees"


def test_a_function_tells_no_parameters_but_trains_those_that_it_uses() -> None:
    layer = nn.LSTM(3, 5)
    measured = measure({"module": layer, "function": lambda input: layer(input)[0]}, INPUT, phase="step", **QUICK)
    assert measured.frame["parameters"].isna().tolist() == [False, True]
    assert all(parameter.grad is None for parameter in layer.parameters())


def test_a_step_in_float16_leaves_the_weights_as_they_are() -> None:
    layer = nn.Linear(3, 5).half()
    finite: list[bool] = []

    def module(input: Tensor) -> Tensor:
        finite.append(bool(torch.isfinite(layer.weight).all()))
        outputs: Tensor = layer(0 * input.half())  # so that the gradients are zero, too
        return outputs

    measure({"one": module, "two": module}, INPUT, phase="step", **QUICK)
    assert all(finite)


def test_a_call_of_a_step_makes_one_step_and_weights_that_it_spoils_are_put_back() -> None:
    """Adam makes NaN of a weight whose gradient is NaN, whatever its learning rate."""
    layer, steps = nn.Linear(3, 5), list[object]()
    before = layer.weight.detach().clone()
    case = LiveCase("mine", lambda input: layer(input) * math.nan, (INPUT,))
    with ExitStack() as put_back:
        put_back.callback(register_optimizer_step_post_hook(lambda optimizer, *_: steps.append(optimizer)).remove)
        timed = timed_call(case, "step", put_back)
        with timed.mode():
            timed.call()
            timed.call()
        assert len(steps) == 2
        assert layer.weight.isnan().all()
    assert torch.equal(layer.weight, before)
    assert layer.weight.grad is None


NOTHING: dict[str, Tensor] = {}


def fails_in_backward(x: Tensor) -> Tensor:
    output = x * 2
    if output.requires_grad:
        output.register_hook(lambda grad: NOTHING["no way back"])
    return output


def fine(x: Tensor) -> Tensor:
    return x * 2


LEAF = torch.ones(3, requires_grad=True)
ERRORS: list[tuple[Any, Any, dict[str, Any], str]] = [
    ({"one": fine}, LEAF, {}, "modules: expected a mapping from names to two or more modules, such as"),
    ([fine], LEAF, {}, "modules: expected a mapping from names to two or more modules, such as"),
    ({"a": fine, "b": 3}, LEAF, {}, "b: expected a module or a function, found int"),
    (
        {"a": fine, "b": fine},
        LEAF,
        {"phase": "train"},
        "phase: expected one of inference, training, step, found 'train'",
    ),
    ({"a": fine, "b": fine}, LEAF, {"reference": "c"}, "reference: no module 'c'; there are a, b"),
    (
        {"a": fine, "b": fine},
        [LEAF],
        {},
        "input: expected a tensor, a tuple of arguments, or a mapping from each name",
    ),
    ({"a": fine, "b": fine}, {"a": LEAF}, {}, "input: a mapping has the modules' names (a, b), found a; an argument"),
    ({"a": fine, "b": fine}, LEAF, {"precision": 2}, "precision: 2 must be between 0% and 100%, such as 2% or 0.02"),
    (
        {"a": fine, "b": fine},
        LEAF,
        {"replicates": 0},
        "replicates: input should be greater than or equal to 1, found 0",
    ),
    (
        {"a": fine, "b": lambda x: x[:2]},
        LEAF,
        {},
        "b gives an output of shape (2,), and a of (3,): they do not do the same work, or `batch_first`",
    ),
    (
        {"a": fine, "b": lambda x: None},
        LEAF,
        {},
        "b: returns no tensor; expected a tensor, or a tuple with the output first",
    ),
    (
        {"a": fine, "b": lambda x: x.mul_(2)},
        LEAF,
        {},
        "b: changes its input in place, but later calls reuse it; work on a copy",
    ),
    ({"a": fine, "b": lambda x: NOTHING["h"]}, LEAF, {}, "b: KeyError: 'h'"),
    ({"a": fine, "b": lambda: None}, LEAF, {}, "b: TypeError: "),
    ({"a": fine, "b": fails_in_backward}, LEAF, {"phase": "training"}, "b: KeyError: 'no way back'"),
    ({"a": fine, "b": lambda x: x.detach()}, LEAF, {"phase": "training"}, "b: its output needs no gradient, so"),
    ({"a": fine, "b": fine}, LEAF, {"phase": "step"}, "a: has no parameters that an optimizer could step; time it in"),
    (
        {"a": fine, "b": lambda x: x.to("meta")},
        LEAF,
        {},
        "outputs are on cpu and meta: put all modules and inputs on one",
    ),
    (dict.fromkeys("ab", lambda x: x.to("meta")), LEAF, {}, "outputs are on meta: no device 'meta': there are cpu"),
]


@pytest.mark.parametrize(
    ("modules", "inputs", "options", "message"), ERRORS, ids=[message[:30] for *_, message in ERRORS]
)
def test_what_does_not_fit_is_told_in_one_line(
    modules: Any, inputs: Any, options: dict[str, Any], message: str
) -> None:
    values, settings = LEAF.detach().clone(), QUICK | options
    with pytest.raises((ValueError, RuntimeError)) as error:
        measure(modules, inputs, **settings)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
    assert torch.equal(LEAF, values)
    assert LEAF.grad is None


@pytest.mark.parametrize("is_declared", [True, False])
@pytest.mark.parametrize("sizes", [(9, 2), (9, 1), (1, 9), (5, 5)])
def test_a_layer_with_the_batch_first_gets_an_input_of_its_own(sizes: tuple[int, int], *, is_declared: bool) -> None:
    layer = nn.LSTM(5, 5)
    other = BatchFirst(layer)
    mine = other.inner if is_declared else other
    x = torch.randn(*sizes, 5)
    modules = {"mine": mine, "torch": layer}
    refused = pytest.raises(ValueError, match=r"mine reads \(batch, seq, .* torch reads .* input={'mine': x.transpose")
    for take in (measure, explain):
        with refused:
            take(modules, x, progress=False)
    own = {"mine": x.transpose(0, 1), "torch": x}
    assert measure(modules, own, reference="torch", **QUICK).frame["parity"]["mine"] == "agrees"
    assert measure(modules, own, reference="mine", **QUICK).frame["parity"]["torch"] == "agrees"


def test_a_point_of_a_sweep_with_the_batch_in_two_places_is_not_measured() -> None:
    layer = nn.LSTM(5, 5)
    modules = {"mine": BatchFirst(layer), "torch": layer}
    with pytest.raises(RuntimeError, match=r"mine reads \(batch, seq"):
        sweep(modules, lambda batch: torch.randn(6, batch, 5), batch=[1, 3], **QUICK)
    swept = sweep(
        modules,
        lambda batch: {"mine": torch.ones(batch, 6, 5), "torch": torch.ones(6, batch, 5)},
        batch=[1, 3],
        **QUICK,
    )
    assert set(swept.frame["parity"]) == {"agrees", "is the reference"}


@pytest.mark.parametrize("sizes", [(9, 2), (9, 1), (1, 9), (5, 5)])
def test_functions_take_an_input_of_their_own_in_the_other_order_and_give_either(sizes: tuple[int, int]) -> None:
    layer = nn.LSTM(5, 5)
    other = BatchFirst(layer)
    x = torch.randn(*sizes, 5)
    for give in (lambda outputs: outputs, lambda outputs: outputs.transpose(0, 1)):
        modules: dict[str, Any] = {"mine": lambda x, give=give: give(other(x)[0]), "torch": layer}
        result = measure(modules, {"mine": x.transpose(0, 1), "torch": x}, reference="torch", **QUICK)
        assert result.frame["parity"]["mine"] == "agrees"


def test_what_may_have_run_other_numbers_of_steps_is_told_with_the_remedy() -> None:
    layer = nn.LSTM(5, 5)
    other = BatchFirst(layer)
    unknown: dict[str, Any] = {"mine": lambda x: other(x)[0], "torch": layer}
    result = measure(unknown, torch.randn(9, 1, 5), **QUICK)
    assert "Whether mine reads (seq, batch, ...) or (batch, seq, ...) could not be found out" in result.note
    assert "their ratio means nothing: then give each its own input, x.transpose(0, 1)" in result.note
    same: dict[str, Any] = {"mine": lambda x: layer(x)[0], "torch": layer}
    for modules, sizes in ((same, (9, 1)), (unknown, (1, 1)), (unknown, (5, 5))):
        assert "could not be found out" not in measure(modules, torch.randn(*sizes, 5), **QUICK).note


def test_a_result_for_each_sequence_is_not_turned_though_it_has_as_many_values_as_steps() -> None:
    layer = nn.LSTM(5, 6, batch_first=True)
    x = torch.randn(6, 4, 5)
    modules: dict[str, Any] = {
        "mine": lambda x: layer(x)[0][:, -1],
        "base": lambda x: layer(x.transpose(0, 1))[0][:, -1],
    }
    result = measure(modules, {"mine": x.transpose(0, 1), "base": x}, reference="base", **QUICK)
    assert result.frame["parity"]["mine"] == "agrees"


@pytest.mark.parametrize(
    ("dtype", "device", "allowed", "starts"),
    [
        (torch.float32, "cuda:0", (True, False), "cuDNN's layers may use TF32 and matrix products may not"),
        (torch.float32, "cuda:0", (False, True), "matrix products may use TF32 and cuDNN's layers may not"),
        (torch.float32, "cuda:0", (True, True), ""),
        (torch.float16, "cuda:0", (True, False), ""),
        (torch.float32, "cpu", (True, False), ""),
    ],
)
def test_tf32_on_one_side_only_is_told(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, device: str, allowed: tuple[bool, bool], starts: str
) -> None:
    monkeypatch.setattr(global_state, "tf32_allowed", lambda: allowed)
    message = cases.uneven(dtype, device)
    assert message.startswith(starts)
    assert bool(message) is bool(starts)


def test_other_weights_and_values_that_are_not_finite_are_timed_and_told() -> None:
    told = measure({"mine": loop(), "torch": nn.LSTM(3, 5)}, INPUT, **QUICK).frame["parity"]["mine"]
    assert re.fullmatch(r"differs by .* of the maximum: times only; use rnnbench\.same_weights", told)
    modules: dict[str, Callable[..., object]] = {
        "base": lambda x: x + 1,
        "nan": lambda x: x / (x - x),
        "again": lambda x: x + 1,
    }
    values = torch.ones(6)
    measured = measure(modules, values, **QUICK)
    assert measured.frame["parity"].tolist() == [
        "is the reference",
        "6 of 6 values are NaN or infinite: times only",
        "agrees",
    ]
    measured = measure(modules, values, reference="nan", **QUICK)
    assert measured.frame["parity"].tolist() == [
        "not compared, as nan's output is NaN or infinite: times only",
        "is the reference, 6 of 6 values are NaN or infinite",
        "not compared, as nan's output is NaN or infinite: times only",
    ]


@pytest.mark.parametrize(
    ("dtype", "error", "agrees"),
    [
        (torch.float64, 1e-8, False),
        (torch.float32, 1e-5, True),
        (torch.float32, 1e-3, False),
        (torch.bfloat16, 3e-2, True),
        (torch.complex64, 1e-5, True),
        (torch.int64, 0, True),
        (torch.int64, 1, False),
    ],
)
def test_outputs_agree_within_the_tolerance_of_their_type(dtype: torch.dtype, error: float, agrees: bool) -> None:
    ones = torch.ones(4, dtype=dtype)
    measured = measure({"base": lambda x: x.clone(), "mine": lambda x: x + error}, ones, **QUICK)
    assert (measured.frame["parity"]["mine"] == "agrees") is agrees

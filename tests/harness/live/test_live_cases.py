"""Which arguments are accepted, and the messages for others."""

import math
import random
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.optim.optimizer import register_optimizer_step_post_hook

from rnnbench import measure
from rnnbench.harness.live.live_cases import LiveCase, movable_weights, move_weights, reference_of, timed_call
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


def test_weights_lie_elsewhere_in_each_round_and_are_back_at_the_end() -> None:
    first, second = nn.LSTM(5, 8), nn.LSTM(5, 8)
    second.weight_ih_l0.data = first.weight_ih_l0.data  # shared: it must stay so
    weights = {name: weight.clone() for name, weight in first.named_parameters()}
    before = {name: weight.data_ptr() for name, weight in first.named_parameters()}
    seen: dict[str, set[int]] = {name: set() for name in before}
    with ExitStack() as put_back:
        movable = movable_weights([first, second, len], put_back)
        for _ in range(8):
            move_weights(movable, random.Random(0))
            for name, weight in first.named_parameters():
                seen[name].add(weight.data_ptr())
                assert torch.equal(weight, weights[name])
    assert seen.pop("weight_ih_l0") == {before["weight_ih_l0"]}
    assert all(places - {before[name]} for name, places in seen.items())
    assert {name: weight.data_ptr() for name, weight in first.named_parameters()} == before


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
NO_MODULES = (
    "modules: expected a mapping from names to two or more modules, such as {'mine': mine, 'torch': nn.LSTM(...)}"
)
ERRORS: list[tuple[Any, Any, dict[str, Any], str]] = [
    ({"one": fine}, LEAF, {}, "modules: expected a mapping from names to two or more modules, such as"),
    ([fine], LEAF, {}, f"{NO_MODULES}; found a value of type list"),
    (fine, LEAF, {}, f"{NO_MODULES}; found a value of type function"),
    ({"a": fine, "b": 3}, LEAF, {}, "b: expected a module or a function, found int"),
    (
        {"a": fine, "b": fine},
        LEAF,
        {"phase": "train"},
        "phase: expected one of inference, training, step, found 'train'",
    ),
    ({"a": fine, "b": fine}, LEAF, {"reference": "c"}, "reference: no module has the name 'c'; expected one of a, b"),
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

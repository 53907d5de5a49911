"""Which argument of a stranger's constructor gets which size, and what is said where none fits."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

from rnnbench.adapt.building import construct, parameters_of
from rnnbench.cells import CellError

SIZES = {"input_size": 3, "hidden_size": 5, "output_size": 7, "batch_size": 11}


class Kept(nn.Module):
    """Keeps what it is built with."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__()
        self.given, self.named = given, named


def usual(input_size: int, hidden_size: int) -> nn.Module:
    return Kept(input_size, hidden_size)


def unnamed(a: int, b: int, c: int = 0) -> nn.Module:
    return Kept(a, b, c)


def turned(hidden_dim: int, input_dim: int) -> nn.Module:
    return Kept(input=input_dim, hidden=hidden_dim)


def keywords(*, units: int, in_features: int, num_classes: int, batch_size: int) -> nn.Module:
    return Kept(units, in_features, num_classes, batch_size)


def with_output(input_size: int, hidden_size: int, output_size: int | None = None) -> nn.Module:
    return Kept(input_size, hidden_size, output_size)


def positional(a: int, b: int, /, gate: str = "tanh") -> nn.Module:
    return Kept(a, b, gate)


def one_unnamed_size(width: int, bias: bool = True) -> nn.Module:
    return Kept(width, bias)


def one_size(units: int, theta: float) -> nn.Module:
    return Kept(units, theta)


def nothing() -> nn.Module:
    return Kept()


@pytest.mark.parametrize(
    ("factory", "arguments", "given", "named"),
    [
        (usual, {}, (3, 5), {}),
        (unnamed, {}, (3, 5, 0), {}),
        (unnamed, {"c": 4}, (3, 5, 4), {}),
        (unnamed, {"b": 9}, (3, 9, 0), {}),
        (turned, {}, (), {"input": 3, "hidden": 5}),
        (keywords, {}, (5, 3, 7, 11), {}),
        (with_output, {}, (3, 5, None), {}),  # a default stays
        (positional, {"gate": "relu"}, (3, 5, "relu"), {}),
        (one_size, {"theta": 0.5}, (5, 0.5), {}),
        (one_unnamed_size, {}, (3, True), {}),
        (nothing, {}, (), {}),
        (Kept, {"theta": 2}, (3, 5), {"theta": 2}),
    ],
)
def test_sizes_go_where_their_names_say(
    factory: Callable[..., nn.Module], arguments: dict[str, Any], given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    built = construct(factory, SIZES, arguments, {})
    assert isinstance(built, Kept)
    assert (built.given, built.named) == (given, named)


def test_layers_of_torch_are_built_with_more() -> None:
    layer = construct(nn.LSTM, SIZES, {}, {"num_layers": 2, "bidirectional": True})
    assert isinstance(layer, nn.LSTM)
    assert (layer.input_size, layer.hidden_size, layer.num_layers, layer.bidirectional) == (3, 5, 2, True)


@pytest.mark.parametrize(
    ("factory", "arguments", "words"),
    [
        (usual, {"theta": 1, "mode": "a"}, "usual(input_size: int, hidden_size: int) -> "),
        (usual, {"theta": 1, "mode": "a"}, "has no argument theta, mode; take it out of `arguments`"),
        (
            one_size,
            {},
            "missing a required argument: 'theta'; give what it needs with its name, 'one_size(theta=VALUE)', or in",
        ),
        (len, {}, "can't be"),
        (lambda input_size, hidden_size: 3, {}, "builds int; expected a torch.nn.Module"),
    ],
)
def test_what_does_not_fit_is_told(factory: Any, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(CellError) as raised:
        construct(factory, SIZES, arguments, {})
    assert words in str(raised.value)


def test_parameters_that_can_not_be_read_are_none() -> None:
    def takes(first: int, *, second: int = 2) -> None: ...

    assert list(parameters_of(takes)) == ["first", "second"]
    assert list(parameters_of(nn.Linear)) == ["in_features", "out_features", "bias", "device", "dtype"]
    assert parameters_of(Tensor.add_) == {}

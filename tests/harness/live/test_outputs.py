"""Outputs are compared before timing, and the cause of a difference is said."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rnnbench import measure, same_weights, unroll
from rnnbench.harness.live.arms import uneven
from rnnbench.harness.machine.global_state import TorchState
from tests.harness.live.modules import INPUT, QUICK, Loop

pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS: TorchState = {"cuDNN TF32": True, "float32 matmul precision": "highest"}
PRODUCTS: TorchState = {"cuDNN TF32": False, "float32 matmul precision": "high"}


@pytest.mark.parametrize(
    ("dtype", "device", "settings", "starts"),
    [
        (torch.float32, "cuda:0", LAYERS, "cuDNN's layers may use TF32 and matrix products may not"),
        (torch.float32, "cuda:0", PRODUCTS, "matrix products may use TF32 and cuDNN's layers may not"),
        (torch.float32, "cuda:0", LAYERS | {"float32 matmul precision": "high"}, ""),
        (torch.float16, "cuda:0", LAYERS, ""),
        (torch.float32, "cpu", LAYERS, ""),
    ],
)
def test_tf32_on_one_side_only_is_told(dtype: torch.dtype, device: str, settings: TorchState, starts: str) -> None:
    message = uneven(dtype, device, settings)
    assert message.startswith(starts)
    assert bool(message) is bool(starts)


def test_other_weights_are_timed_and_told() -> None:
    measured = measure({"mine": Loop(), "torch": nn.LSTM(3, 5)}, INPUT, **QUICK)
    assert measured.frame["parity"]["mine"].startswith("differs by ")
    assert measured.frame["parity"]["mine"].endswith(" of the largest value: times only")


def test_values_that_are_not_finite_are_told() -> None:
    arms: dict[str, Callable[..., object]] = {
        "base": lambda x: x + 1,
        "nan": lambda x: x / (x - x),
        "again": lambda x: x + 1,
    }
    values = torch.ones(6)
    measured = measure(arms, values, **QUICK)
    assert measured.frame["parity"].tolist() == [
        "is the reference",
        "6 of 6 values are NaN or infinite: times only",
        "agrees",
    ]
    measured = measure(arms, values, reference="nan", **QUICK)
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


class Turned(nn.Module):
    """A layer whose output has its first two dimensions in the other order."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor) -> Tensor:
        outputs: Tensor = self.layer(input)[0]
        return outputs.transpose(0, 1)


def parity(mine: nn.Module, layer: nn.Module, input: Tensor) -> str:
    return str(measure({"mine": mine, "torch": layer}, input, **QUICK).frame["parity"]["mine"])


def test_an_output_in_the_other_order_is_recognised() -> None:
    layer = nn.LSTM(3, 5)
    told = parity(Turned(layer), layer, torch.randn(4, 4, 3))
    assert told.startswith("differs by ")
    assert told.endswith("in the other order it agrees: is `batch_first` set alike?")
    with pytest.raises(ValueError, match=r"of shape \(2, 4, 5\), and torch of \(4, 2, 5\): is `batch_first` set alike"):
        parity(Turned(layer), layer, torch.randn(4, 2, 3))
    with pytest.raises(ValueError, match="they do not do the same work"):
        parity(nn.Linear(3, 7), layer, torch.randn(4, 2, 3))


class Summed(nn.Module):
    """A cell as torch's, whose sum is in another order, so that it rounds in another way."""

    def __init__(self, cell: nn.RNNCell) -> None:
        super().__init__()
        self.cell = cell
        self.hidden_size = cell.hidden_size

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        products = (h[:, None, :] * self.cell.weight_hh).flip(-1).cumsum(-1)[..., -1]
        return torch.tanh(x @ self.cell.weight_ih.T + self.cell.bias_ih + products + self.cell.bias_hh)


def saturating(scale: float) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    layer = nn.RNN(8, 64)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.normal_(0, scale)
    return same_weights(unroll(Summed(nn.RNNCell(8, 64))), like=layer), layer


def test_rounding_that_grows_is_the_cause_if_float64_agrees() -> None:
    told = parity(*saturating(0.7), torch.randn(12, 4, 8))
    assert told.startswith("agrees in float64; rounding in float32 makes ")
    assert told.endswith("since each step makes errors larger")


class Coarse(Summed):
    """The same with products in a coarser type, whatever type it is given."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return super().forward(x, h.bfloat16().to(x.dtype))


class CoarseInFloat32(Summed):
    """The same in float32 alone, so that a copy in float64 agrees."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return super().forward(x, h.bfloat16().to(x.dtype) if x.dtype == torch.float32 else h)


@pytest.mark.parametrize(
    ("kind", "scale"), [(Coarse, 0.1), (Coarse, 0.7), (CoarseInFloat32, 0.1), (CoarseInFloat32, 0.2)]
)
def test_a_module_that_computes_less_precisely_is_not_excused(kind: type[Summed], scale: float) -> None:
    mine, layer = saturating(scale)
    coarse = unroll(kind(mine.cell.cell))  # type: ignore[arg-type]
    assert parity(coarse, layer, torch.randn(12, 4, 8)).startswith("differs by ")

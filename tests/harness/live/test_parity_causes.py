import pytest
import torch
from torch import Tensor, nn

from rnnbench import measure, same_weights, unroll
from tests.harness.live.modules import QUICK

pytestmark = pytest.mark.usefixtures("one_thread")


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
    assert told.endswith("since large weights saturate the state and each step makes errors larger")


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
    coarse = unroll(kind(mine.cell.cell))  # type: ignore[union-attr, arg-type]
    assert parity(coarse, layer, torch.randn(12, 4, 8)).startswith("differs by ")

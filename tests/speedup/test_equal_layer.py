"""Cells in the forms in which people write them, and cells that only look like a layer of torch.nn."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rnnbench.adapt.calls import Adapted, CellCall
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.cells.states import State, leaves
from rnnbench.cells.vanilla import VanillaCell
from rnnbench.speedup.equal_layer import EqualLayer, equal_layer
from rnnbench.speedup.ways import AS_GIVEN, way

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS, BATCH = 4, 3
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


class Written(nn.Module):
    """A cell that keeps its weights in one of many forms."""

    def __init__(
        self,
        kind: str,
        inputs: int,
        hidden: int,
        *,
        order: tuple[int, ...],
        by_gate: bool = False,
        is_joint: bool = False,
        is_turned: bool = False,
        biases: int = 2,
        opposite: bool = False,
    ) -> None:
        super().__init__()
        gates = GATES[kind]
        self.kind, self.hidden, self.order, self.opposite = kind, hidden, order, opposite
        self.is_joint, self.is_turned, self.biases = is_joint, is_turned, biases
        rows, count = (hidden, gates) if by_gate else (gates * hidden, 1)
        widths = [inputs + hidden] if is_joint else [inputs, hidden]

        def made(*shape: int) -> nn.ParameterList:
            return nn.ParameterList([nn.Parameter(torch.randn(shape)) for _ in range(count)])

        self.matrices = nn.ModuleList([made(width, rows) if is_turned else made(rows, width) for width in widths])
        self.vectors = nn.ModuleList([made(rows) for _ in range(biases)])

    def product(self, x: Tensor, index: int) -> Tensor:
        weights: Any = self.matrices[index]
        weight = torch.cat([each.t() if self.is_turned else each for each in weights])
        return x @ weight.t()

    def bias(self, index: int) -> Tensor | float:
        vectors: Any = self.vectors
        return torch.cat([*vectors[index]]) if index < self.biases else 0.0

    def forward(self, x: Tensor, state: Any) -> Any:
        h = state[0] if self.kind == "lstm" else state
        if self.is_joint:
            whole = self.product(torch.cat([h, x], 1), 0) + self.bias(0)
            of_input, of_state = whole, torch.zeros_like(whole)
        else:
            of_input, of_state = self.product(x, 0) + self.bias(0), self.product(h, 1) + self.bias(1)
        parts = of_input.chunk(len(self.order), 1), of_state.chunk(len(self.order), 1)
        gates = [(parts[0][gate], parts[1][gate]) for gate in self.order]
        if self.kind == "rnn":
            return torch.tanh(gates[0][0] + gates[0][1])
        if self.kind == "gru":
            r, z = (torch.sigmoid(a + b) for a, b in gates[:2])
            n = torch.tanh(gates[2][0] + r * gates[2][1])
            return z * n + (1 - z) * h if self.opposite else (1 - z) * n + z * h
        i, f, g, o = (a + b for a, b in gates)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def first_state(cell: nn.Module, hidden: int, *, is_pair: bool) -> State:
    h = torch.randn(1, BATCH, hidden)
    return (h, torch.randn(1, BATCH, hidden)) if is_pair else h


def found(cell: nn.Module, inputs: int, hidden: int, *, is_pair: bool) -> EqualLayer | None:
    return equal_layer(cell, torch.zeros(STEPS, BATCH, inputs), first_state(cell, hidden, is_pair=is_pair))


def assert_computes_the_same(cell: nn.Module, inputs: int, hidden: int, *, is_pair: bool) -> None:
    layer = found(cell, inputs, hidden, is_pair=is_pair)
    assert layer is not None
    torch.manual_seed(1)
    input, state = torch.randn(STEPS, BATCH, inputs), first_state(cell, hidden, is_pair=is_pair)
    results = []
    for run in (layer, way("cell", AS_GIVEN), way("cell", "torch.nn")):
        cell.zero_grad()
        outputs, final = run(cell, input, state)
        (outputs.sin().sum() + sum(part.sum() for part in leaves(final))).backward()
        results.append([outputs, *leaves(final), *(each.grad for each in cell.parameters())])
    for result in (results[0], results[2]):
        torch.testing.assert_close(result, results[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("cell", "is_pair"),
    [
        (nn.RNNCell(5, 4), False),
        (nn.RNNCell(5, 4, bias=False, nonlinearity="relu"), False),
        (nn.GRUCell(5, 4), False),
        (nn.LSTMCell(5, 4), True),
        (nn.LSTMCell(1, 4, bias=False), True),
        (VanillaCell(5, 4), False),
        (GRUCell(5, 4), False),
        (LSTMCell(5, 4), True),
        (LSTMCell(4, 4), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_cells_of_torch_and_of_rnnbench_are_their_layers(cell: Any, is_pair: bool) -> None:
    assert_computes_the_same(cell, next(iter(cell.parameters())).shape[-1], 4, is_pair=is_pair)


@given(st.data())
def test_all_forms_of_weights_are_found(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(GATES)))
    is_joint = kind != "gru" and data.draw(st.booleans())
    inputs = data.draw(st.sampled_from([1, 3, 4]))
    cell = Written(
        kind,
        inputs,
        4,
        order=tuple(data.draw(st.permutations(range(GATES[kind])))),
        by_gate=data.draw(st.booleans()),
        is_joint=is_joint,
        is_turned=data.draw(st.booleans()),
        biases=data.draw(st.integers(0, 1 if is_joint else 2)),
        opposite=data.draw(st.booleans()),
    )
    assert_computes_the_same(cell, inputs, 4, is_pair=kind == "lstm")


class InTurns(nn.Module):
    """An LSTM cell that keeps a weight of the input and one of the state for each gate, in turns."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        for gate in "ifgo":
            self.register_parameter(f"w_{gate}", nn.Parameter(torch.randn(hidden, inputs)))
            self.register_parameter(f"u_{gate}", nn.Parameter(torch.randn(hidden, hidden)))

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h, c = state
        weights = dict(self.named_parameters())
        i, f, g, o = (x @ weights[f"w_{gate}"].t() + h @ weights[f"u_{gate}"].t() for gate in "ifgo")
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


def test_weights_of_input_and_state_may_be_kept_in_turns() -> None:
    assert_computes_the_same(InTurns(3, 4), 3, 4, is_pair=True)


def test_rounding_at_large_states_tells_no_layer_apart() -> None:
    cell = Written("lstm", 3, 4, order=(0, 1, 2, 3), by_gate=True, is_turned=True)
    assert_computes_the_same(cell, 3, 4, is_pair=True)


def test_a_cell_of_another_form_is_found_too() -> None:
    cell = Adapted(nn.LSTMCell(3, 4), CellCall((torch.zeros(0),) * 2, "second", "state", 0, (0, 0)))
    assert_computes_the_same(cell, 3, 4, is_pair=True)


class Changed(nn.LSTMCell):
    """An LSTM cell with one change."""

    def __init__(self, change: str) -> None:
        super().__init__(3, 4)
        self.change = change
        self.calls, self.kept = 0, list[Tensor]()
        if change == "parameter":
            self.peephole = nn.Parameter(torch.zeros(4))
        if change == "buffer":
            self.scale: Tensor
            self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor, state: Any = None) -> Any:
        if self.change == "input":
            x = x.clamp(-4, 4)
        if self.change == "mode" and self.training:
            x = 2 * x
        if self.change == "random":
            x = x + 1e-2 * torch.randn_like(x)
        if self.change == "counts":
            self.calls += 1
        if self.change == "keeps":
            self.kept.append(x)
        h, c = super().forward(x, state)
        changes: dict[str, Callable[[], Tensor]] = {
            "state": lambda: c.clamp(-50, 50),
            "parameter": lambda: c * (1 + self.peephole),
            "buffer": lambda: c * self.scale,
        }
        return h, changes.get(self.change, lambda: c)()


@pytest.mark.parametrize("change", ["input", "state", "mode", "random", "parameter", "buffer", "counts", "keeps"])
def test_a_cell_that_differs_in_some_calls_or_does_more_is_no_layer(change: str) -> None:
    assert found(Changed(""), 3, 4, is_pair=True) is not None
    assert found(Changed(change), 3, 4, is_pair=True) is None


class ResetBefore(nn.GRUCell):
    """A GRU whose reset gate comes before the product."""

    def forward(self, x: Tensor, h: Any = None) -> Tensor:
        (i_r, i_z, i_n), (w_r, w_z, w_n) = (x @ self.weight_ih.t()).chunk(3, 1), self.weight_hh.chunk(3)
        r, z = torch.sigmoid(i_r + h @ w_r.t()), torch.sigmoid(i_z + h @ w_z.t())
        return torch.lerp(torch.tanh(i_n + (r * h) @ w_n.t()), h, z)


def test_another_recurrence_is_no_layer() -> None:
    assert found(ResetBefore(3, 4, bias=False), 3, 4, is_pair=False) is None


@pytest.mark.parametrize("state", [(1, BATCH, 4), (2, BATCH, 4), (1, BATCH, 2, 2)])
def test_states_of_other_shapes_and_types_are_no_layer(state: tuple[int, ...]) -> None:
    cell, input = nn.RNNCell(3, 4), torch.zeros(2, BATCH, 3)
    assert (equal_layer(cell, input, torch.zeros(state)) is not None) == (state == (1, BATCH, 4))
    assert equal_layer(cell, input, torch.zeros(state, dtype=torch.float64)) is None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device or driver")
@pytest.mark.parametrize(("kind", "opposite"), [("rnn", False), ("gru", True), ("lstm", False)])
def test_a_gpu_runs_it_in_cudnn_without_a_warning(kind: str, opposite: bool) -> None:
    cell = Written(kind, 3, 4, order=tuple(range(GATES[kind])), by_gate=True, opposite=opposite).cuda()
    h = torch.randn(1, BATCH, 4, device="cuda")
    input, state = torch.randn(STEPS, BATCH, 3, device="cuda"), (h, h) if kind == "lstm" else h
    layer = equal_layer(cell, input, state)
    assert layer is not None
    with torch.no_grad():
        found, expected = layer(cell, input, state), way("cell", AS_GIVEN)(cell, input, state)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)

"""Cells that no layer of torch.nn equals: each against its paper's equations, or where it becomes a known cell."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rnnbench.cells import CELLS
from rnnbench.cells.modern.diagonal import DiagonalCell
from rnnbench.cells.modern.ind_rnn import IndRNNCell
from rnnbench.cells.modern.lmu import ORDER, THETA, LMUCell, delay
from rnnbench.cells.modern.lstm_layer_norm import LSTMLayerNormCell
from rnnbench.cells.modern.lstm_peephole import LSTMPeepholeCell
from rnnbench.cells.modern.min_gru import MinGRUCell, log_positive, positive
from rnnbench.cells.modern.min_lstm import MinLSTMCell
from rnnbench.cells.modern.s_lstm import SLSTMCell
from rnnbench.cells.modern.ugrnn import UGRNNCell
from rnnbench.cells.parts import complex_scan, log_scan
from rnnbench.store.implementations import Implementation
from rnnbench.workloads.observe import observe
from rnnbench.workloads.parity import ParityError, largest_error
from rnnbench.workloads.prepare import Built, build
from tests.doubles import workload as small

OTHERS = [name for name, spec in CELLS.items() if spec.unequal and not spec.stacked]
LINEAR = ["min_gru", "min_lstm", "diagonal"]
B, X, H = 3, 4, 6


@pytest.fixture(autouse=True)
def _in_float64() -> Any:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_gates_see_the_state_that_the_paper_says() -> None:
    cell = LSTMPeepholeCell(X, H)
    x, h, c = torch.randn(B, X), torch.randn(B, H), torch.randn(B, H)
    sums = x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
    i, f, g, o = sums.chunk(4, dim=1)
    p_i, p_f, p_o = cell.peepholes
    after = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
    torch.testing.assert_close(cell(x, (h, c)), (torch.sigmoid(o + p_o * after) * torch.tanh(after), after))


def test_a_diagonal_weight_makes_an_elman_cell_independent() -> None:
    cell, reference = IndRNNCell(X, H), nn.RNNCell(X, H, nonlinearity="relu")
    weights = {"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh.diag(), "bias_ih": cell.bias}
    reference.load_state_dict({**weights, "bias_hh": torch.zeros(H)})
    x, h = torch.randn(B, X), torch.randn(B, H)
    torch.testing.assert_close(cell(x, h), reference(x, h))


@pytest.mark.parametrize(("bias", "is_kept"), [(-1e4, False), (1e4, True)])
def test_the_update_gate_keeps_the_state_or_takes_an_elman_step(bias: float, is_kept: bool) -> None:
    cell, reference = UGRNNCell(X, H), nn.RNNCell(X, H)
    names = {"weight_ih": cell.weight_ih[H:], "weight_hh": cell.weight_hh[H:], "bias_ih": cell.bias[H:]}
    reference.load_state_dict({**names, "bias_hh": torch.zeros(H)})
    with torch.no_grad():
        cell.bias[:H] = bias
    x, h = torch.randn(B, X), torch.randn(B, H)
    torch.testing.assert_close(cell(x, h), h if is_kept else reference(x, h))


def test_the_stabiliser_changes_nothing() -> None:
    """Without it, gates are exponentials and sigmoids themselves."""
    cell = SLSTMCell(X, H)
    state = cell.initial_state(B)
    c, n = torch.zeros(B, H), torch.zeros(B, H)
    for _ in range(20):
        x, h = torch.randn(B, X), state[0]
        i, f, z, o = (x @ cell.weight_ih.T + h @ cell.weight_hh.T + cell.bias).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + i.exp() * torch.tanh(z)
        n = torch.sigmoid(f) * n + i.exp()
        state = cell(x, state)
        torch.testing.assert_close(state[0], torch.sigmoid(o) * c / n)


def test_large_gates_do_not_overflow() -> None:
    cell = SLSTMCell(X, H).float()
    state = cell.initial_state(B)
    for _ in range(50):
        state = cell(1e4 * torch.randn(B, X, dtype=torch.float32), state)
    assert all(bool(part.isfinite().all()) for part in state)


def test_sums_are_normalised_over_all_gates_together() -> None:
    cell = LSTMLayerNormCell(X, H)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x, h, c = torch.randn(B, X), torch.randn(B, H), torch.randn(B, H)

    def normed(value: Tensor, gain: Tensor) -> Tensor:
        centred = value - value.mean(1, keepdim=True)
        return gain * centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()

    sums = normed(x @ cell.weight_ih.T, cell.norm_ih.weight) + normed(h @ cell.weight_hh.T, cell.norm_hh.weight)
    i, f, g, o = (sums + cell.bias).chunk(4, dim=1)
    after = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    shown = normed(after, cell.norm_c.weight) + cell.norm_c.bias
    torch.testing.assert_close(cell(x, (h, c)), (torch.sigmoid(o) * torch.tanh(shown), after))


def test_minimal_cells_weigh_state_and_candidate() -> None:
    x, h = torch.randn(B, X), torch.randn(B, H)
    gru = MinGRUCell(X, H)
    z, n = (x @ gru.weight_ih.T + gru.bias_ih).chunk(2, dim=1)
    torch.testing.assert_close(gru(x, h), (1 - z.sigmoid()) * h + z.sigmoid() * positive(n))
    lstm = MinLSTMCell(X, H)
    f, i, n = (x @ lstm.weight_ih.T + lstm.bias_ih).chunk(3, dim=1)
    both = f.sigmoid() + i.sigmoid()
    torch.testing.assert_close(lstm(x, h), f.sigmoid() / both * h + i.sigmoid() / both * positive(n))
    values = torch.linspace(-30, 30, 301)
    torch.testing.assert_close(log_positive(values).exp(), positive(values))


def test_the_memory_holds_the_last_steps_as_legendre_polynomials() -> None:
    a, b = delay(ORDER, THETA)
    m, written = torch.zeros(ORDER), []
    for step in range(400):
        u = torch.sin(torch.tensor(step / 20.0))
        written.append(u)
        m = a @ m + b * u
    for steps_ago in (1, 10, 32, 60):
        where = 2 * steps_ago / THETA - 1  # the window from now (-1) to theta steps ago (1)
        polynomials = [1.0, where]
        for degree in range(1, ORDER - 1):
            polynomials.append(((2 * degree + 1) * where * polynomials[-1] - degree * polynomials[-2]) / (degree + 1))
        remembered = sum(p * float(part) for p, part in zip(polynomials, m, strict=True))
        assert remembered == pytest.approx(float(written[-steps_ago]), abs=0.06), steps_ago


def test_the_memory_unit_writes_and_reads_as_its_equations_say() -> None:
    cell = LMUCell(X, H)
    x, h, m = torch.randn(B, X), torch.randn(B, H), torch.randn(B, ORDER)
    u = x @ cell.weight_ih[-1:].T + h @ cell.weight_hh[-1:].T + m @ cell.write.T
    after = m @ cell.a.T + u * cell.b
    shown = torch.tanh(x @ cell.weight_ih[:-1].T + h @ cell.weight_hh[:-1].T + after @ cell.weight_mh.T)
    torch.testing.assert_close(cell(x, (h, m)), (shown, after))


def test_a_diagonal_recurrence_is_one_of_complex_numbers() -> None:
    cell = DiagonalCell(X, H)
    a = torch.complex(*cell.decay)
    assert bool((a.abs() < 1).all())
    s = torch.complex(torch.randn(B, H), torch.randn(B, H))
    x = torch.randn(B, X)
    b_re, b_im, d = cell.weight_ih.split(H)
    after = a * s + (1 - a.abs() ** 2).sqrt() * (x.to(a.dtype) @ torch.complex(b_re, b_im).T)
    y = (after @ torch.complex(cell.weight_re, cell.weight_im).T).real + x @ d.T
    torch.testing.assert_close(cell(x, (torch.zeros(B, H), s.real, s.imag)), (y, after.real, after.imag))


@pytest.mark.parametrize("name", OTHERS)
def test_the_state_that_a_cell_begins_with_has_its_form(name: str) -> None:
    case = small.case(name, num_layers=2, phase="training")
    built = build(case, Path())
    assert str(observe(built).parity) == f"not compared: {CELLS[name].unequal}"
    assert built.is_of_cells


def error_to_loop(built: Built) -> float:
    return largest_error(replace(built, reference=built.model.looped()), built.input, as_timed=True)


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("changes", [{}, {"seq_len": 1}, {"seq_len": 65, "bidirectional": True, "num_layers": 2}])
@pytest.mark.parametrize("implementation", ["hoisted", "scan"])
@pytest.mark.parametrize("name", LINEAR)
def test_a_scan_agrees_with_the_loop(name: str, implementation: Implementation, changes: Any, phase: Any) -> None:
    built = build(small.case(name, implementation, phase=phase, **changes), Path())
    assert error_to_loop(built) < 1e-9


def test_a_wrong_scan_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    right: Callable[..., Any] = MinGRUCell.scan

    def wrong(cell: MinGRUCell, input: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        outputs, final = right(cell, input, torch.zeros_like(h))
        return outputs, final

    monkeypatch.setattr(MinGRUCell, "scan", wrong)
    with pytest.raises(ParityError, match=r"output is off by .* of the loop's largest value"):
        observe(build(small.case("min_gru", "scan"), Path()))


@pytest.mark.parametrize("name", LINEAR)
def test_float32_is_enough_for_long_sequences(name: str) -> None:
    built = build(small.case(name, "scan", phase="training", seq_len=1024, dtype="float32"), Path())
    assert error_to_loop(built) < 1e-4


numbers = st.floats(-20, 20)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40), numbers)
def test_a_log_scan_is_the_recurrence(steps: list[tuple[float, float]], first: float) -> None:
    log_a = -torch.tensor([abs(a) for a, _ in steps])[:, None, None]
    log_b = torch.tensor([b for _, b in steps])[:, None, None]
    h, expected = torch.full((1, 1), first), []
    for a, b in zip(log_a.exp(), log_b.exp(), strict=True):
        h = a * h + b
        expected.append(h)
    torch.testing.assert_close(log_scan(log_a, log_b, torch.full((1, 1), first)), torch.stack(expected))


@given(st.integers(1, 50), st.integers(0, 1000))
def test_a_complex_scan_is_the_recurrence(steps: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    parts = torch.randn(2, steps, 2, 3, generator=draw)
    decay = torch.rand(2, 3, generator=draw) * 1.4 - 0.7
    first = torch.randn(2, 2, 3, generator=draw)
    s, a, expected = torch.complex(*first), torch.complex(*decay), []
    for b in torch.complex(*parts):
        s = a * s + b
        expected.append(s)
    found = complex_scan((decay[0], decay[1]), (parts[0], parts[1]), (first[0], first[1]))
    torch.testing.assert_close(torch.complex(*found), torch.stack(expected))

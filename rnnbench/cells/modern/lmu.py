"""Legendre memory unit: one step.

    u = e_x x + e_h h + e_m m                   what is written: one number
    m' = A m + B u                              the memory: Legendre coefficients of the last theta steps of u
    h' = tanh(W_x x + W_h h + W_m m')

A and B are fixed. They follow from the Legendre delay, made discrete for steps of length 1 by holding u:
A = exp(A_c / theta), B = A_c^-1 (A - I) B_c with A_c[i, j] = (2i + 1) * (-1 if i < j else (-1)^(i - j + 1)) and
B_c[i] = (2i + 1) (-1)^i.

Voelker, Kajić & Eliasmith 2019, "Legendre memory units" (NeurIPS), equations 1 to 7.
"""

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnbench.cells.parts import TwoPartCell, uniform

LMUState = tuple[Tensor, Tensor]
ORDER = 16  # coefficients of the memory
THETA = 64.0  # steps that the memory spans


class LMUCell(TwoPartCell):
    """`cell(input, (h, m)) -> (h', m')`, with `m`: (batch, 16)."""

    weights_from = None
    a: Tensor
    b: Tensor

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        # The last row is that of e_x: one product gives both.
        self.weight_ih = uniform(hidden_size + 1, input_size, bound=input_size**-0.5)
        self.weight_hh = uniform(hidden_size + 1, hidden_size, bound=hidden_size**-0.5)
        self.write = uniform(1, ORDER, bound=ORDER**-0.5)
        self.weight_mh = uniform(hidden_size, ORDER, bound=ORDER**-0.5)
        a, b = delay(ORDER, THETA)
        self.register_buffer("a", a.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("b", b.to(torch.get_default_dtype()), persistent=False)

    def initial_state(self, batch_size: int) -> LMUState:
        """Return zeros."""
        return self.a.new_zeros(batch_size, self.hidden_size), self.a.new_zeros(batch_size, ORDER)

    def project(self, input: Tensor) -> Tensor:
        """Return the part that does not depend on the state: (..., input) -> (..., hidden + 1)."""
        return linear(input, self.weight_ih)

    def advance(self, projected: Tensor, state: LMUState) -> LMUState:
        """Take one step from a projected input: (batch, hidden + 1), (batch, hidden), (batch, 16) -> the last two."""
        h, m = state
        both = projected + linear(h, self.weight_hh)
        u = both[:, -1:] + linear(m, self.write)
        m = linear(m, self.a) + u * self.b
        return torch.tanh(both[:, :-1] + linear(m, self.weight_mh)), m


def delay(order: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return a: (order, order) and B: (order,) of the memory, in float64."""
    i = torch.arange(order, dtype=torch.float64)[:, None]
    j = i.t()
    signs = torch.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    a_c = (2 * i + 1) * signs
    b_c = (2 * i + 1) * (-1.0) ** i
    a = torch.linalg.matrix_exp(a_c / theta)
    b = torch.linalg.solve(a_c, (a - torch.eye(order, dtype=torch.float64)) @ b_c)
    return a, b[:, 0]

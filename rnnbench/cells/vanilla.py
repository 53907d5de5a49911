"""Vanilla (Elman) cell: one step.

    h' = tanh(W_ih x + b_ih + W_hh h + b_hh)

or with relu or sigmoid in the place of tanh. Elman 1990, "Finding structure in time", Cognitive Science 14(2), in the
form of torch.nn.RNN, with its two biases.
"""

from torch import Tensor
from torch.nn.functional import linear

from rnnbench.cells.parts import NONLINEARITIES, TwoPartCell, uniform
from rnnbench.store.records import Nonlinearity


class VanillaCell(TwoPartCell):
    """`cell(input, h) -> h'`, with the parameter names and shapes of torch.nn.RNNCell."""

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: Nonlinearity = "tanh") -> None:
        super().__init__()
        self.nonlinearity = NONLINEARITIES[nonlinearity]
        self.weight_ih = uniform(hidden_size, input_size, bound=hidden_size**-0.5)
        self.weight_hh = uniform(hidden_size, hidden_size, bound=hidden_size**-0.5)
        self.bias_ih = uniform(hidden_size, bound=hidden_size**-0.5)
        self.bias_hh = uniform(hidden_size, bound=hidden_size**-0.5)

    def project(self, input: Tensor) -> Tensor:
        """Return the part that does not depend on the state: (..., input) -> (..., hidden)."""
        return linear(input, self.weight_ih, self.bias_ih)

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """Take one step from a projected input: (batch, hidden), (batch, hidden) -> (batch, hidden)."""
        return self.nonlinearity(projected + linear(h, self.weight_hh, self.bias_hh))

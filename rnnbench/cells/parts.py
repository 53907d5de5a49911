"""What several cells have in common: a step in two parts, weights of gates, initial values and nonlinearities."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnnbench.store.records import Nonlinearity


class TwoPartCell(nn.Module):
    """A cell whose step is `advance(project(input), state)`: `project` reads no state."""

    project: Callable[..., Any]
    advance: Callable[..., Any]

    def forward(self, input: Tensor, state: Any) -> Any:
        """One step: (batch, input), the state -> the new state."""
        return self.advance(self.project(input), state)


class GatedCell(TwoPartCell):
    """A cell whose gates weigh input and state, with the parameter names and shapes of torch's own cells.

    `weight_ih`: (gates * hidden, input), `weight_hh`: (gates * hidden, hidden), `bias_ih` and `bias_hh`, as torch has
    them: one block of rows for each gate.
    """

    gates = 1  # gates and candidates
    reads_state = True  # the gates, which else see only the input
    has_bias_hh = False  # a second bias, which torch's own cells have

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        rows, bound = self.gates * hidden_size, (hidden_size if self.reads_state else input_size) ** -0.5
        self.weight_ih = uniform(rows, input_size, bound=bound)
        if self.reads_state:
            self.weight_hh = uniform(rows, hidden_size, bound=bound)
        self.bias_ih = uniform(rows, bound=bound)
        if self.has_bias_hh:
            self.bias_hh = uniform(rows, bound=bound)

    def project(self, input: Tensor) -> Tensor:
        """The part that does not depend on the state: (..., input) -> (..., gates * hidden)."""
        return linear(input, self.weight_ih, self.bias_ih)


def uniform(*shape: int, bound: float) -> nn.Parameter:
    """A parameter drawn from U(-bound, bound)."""
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


NONLINEARITIES: Mapping[Nonlinearity, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}

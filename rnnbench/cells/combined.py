"""Combined cell: the vanilla cell with one weight over input and state.

    h' = tanh(W [x; h] + b)          W = [W_ih, W_hh], b = b_ih + b_hh

Elman 1990, as the tutorials write it. The product takes input and state together, so it can't be hoisted out of the
loop: the cell has no `project`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rnnbench.cells.parts import NONLINEARITIES
from rnnbench.store.records import Nonlinearity


class CombinedCell(nn.Module):
    """`cell(input, h) -> h'`; `linear.weight`: (hidden, input + hidden), `linear.bias`: (hidden)."""

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: Nonlinearity = "tanh") -> None:
        super().__init__()
        self.nonlinearity = NONLINEARITIES[nonlinearity]
        self.linear = nn.Linear(input_size + hidden_size, hidden_size)
        for parameter in self.linear.parameters():
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(self, input: Tensor, h: Tensor) -> Tensor:
        """Take one step: (batch, input), (batch, hidden) -> (batch, hidden)."""
        return self.nonlinearity(self.linear(torch.cat((input, h), dim=-1)))

    @staticmethod
    def weights_from(reference: Mapping[str, Tensor], layer: int = 0) -> dict[str, Tensor]:
        """Return the cell's parameters as a function of those of one layer of torch.nn.RNN."""
        return {
            "linear.weight": torch.cat((reference[f"weight_ih_l{layer}"], reference[f"weight_hh_l{layer}"]), dim=1),
            "linear.bias": reference[f"bias_ih_l{layer}"] + reference[f"bias_hh_l{layer}"],
        }

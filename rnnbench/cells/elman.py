"""Elman cells: one step of torch.nn.RNN, as people write it by hand."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from rnnbench.cells.gated import GatedCell
from rnnbench.store.records import Nonlinearity

NONLINEARITIES: Mapping[Nonlinearity, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}
LayerStates = tuple[Tensor, ...]


class VanillaCell(GatedCell):
    """`cell(input, h) -> h'`, with the parameter names and shapes of torch.nn.RNNCell.

        h' = tanh(W_ih x + b_ih + W_hh h + b_hh)

    or with relu or sigmoid in the place of tanh. Elman 1990, "Finding structure in time", Cognitive Science 14(2), in
    the form of torch.nn.RNN, with its two biases.
    """

    has_bias_hh = True

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: Nonlinearity = "tanh") -> None:
        super().__init__(input_size, hidden_size)
        self.nonlinearity = NONLINEARITIES[nonlinearity]

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        """One step from a projected input: (batch, hidden), (batch, hidden) -> (batch, hidden)."""
        return self.nonlinearity(projected + linear(h, self.weight_hh, self.bias_hh))


class CombinedCell(nn.Module):
    """`cell(input, h) -> h'`; `linear.weight`: (hidden, input + hidden), `linear.bias`: (hidden).

        h' = tanh(W [x; h] + b)          W = [W_ih, W_hh], b = b_ih + b_hh

    Elman 1990, as the tutorials write it. The product takes input and state together, so it can't be hoisted out of the
    loop: the cell has no `project`.
    """

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: Nonlinearity = "tanh") -> None:
        super().__init__()
        self.nonlinearity = NONLINEARITIES[nonlinearity]
        self.linear = nn.Linear(input_size + hidden_size, hidden_size)
        for parameter in self.linear.parameters():
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(self, input: Tensor, h: Tensor) -> Tensor:
        """One step: (batch, input), (batch, hidden) -> (batch, hidden)."""
        return self.nonlinearity(self.linear(torch.cat((input, h), dim=-1)))

    @staticmethod
    def weights_from(reference: Mapping[str, Tensor], layer: int = 0) -> dict[str, Tensor]:
        """The cell's parameters as a function of those of one layer of torch.nn.RNN."""
        return {
            "linear.weight": torch.cat((reference[f"weight_ih_l{layer}"], reference[f"weight_hh_l{layer}"]), dim=1),
            "linear.bias": reference[f"bias_ih_l{layer}"] + reference[f"bias_hh_l{layer}"],
        }


class DeepCell(nn.Module):
    """`cell(input, states) -> states'`, with one state (batch, hidden) for each layer.

        h'_l = tanh(W_l [h'_{l-1}; h_l] + b_l),   h'_0 = x

    Stacked combined cells; every layer reads its own state of the previous step. Pascanu et al. 2014
    (arXiv:1312.6026), the stacked RNN of figure 2e, which is what torch.nn.RNN(num_layers=n) computes.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int, nonlinearity: Nonlinearity = "tanh") -> None:
        super().__init__()
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(CombinedCell(size, hidden_size, nonlinearity) for size in sizes)

    def forward(self, input: Tensor, states: LayerStates) -> LayerStates:
        """One step: (batch, input), num_layers x (batch, hidden) -> num_layers x (batch, hidden)."""
        new = []
        for layer, h in zip(self.layers, states, strict=True):
            input = layer(input, h)
            new.append(input)
        return tuple(new)

    @staticmethod
    def weights_from(reference: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The cell's parameters as a function of those of torch.nn.RNN with as many layers."""
        num_layers = sum(name.startswith("weight_ih_l") for name in reference)
        return {
            f"layers.{layer}.{name}": weight
            for layer in range(num_layers)
            for name, weight in CombinedCell.weights_from(reference, layer).items()
        }


class DeepNotebookCell(DeepCell):
    """`cell(input, states) -> states'`, with the parameters of `DeepCell`.

        h'_1 = tanh(W_1 [x; h_1] + b_1)
        h'_l = tanh(W_l [h'_{l-1}; h_{l-1}] + b_l),   l > 1

    The deep cell of the tutorial notebook: each layer above the first reads the state of the layer *below* it. The top
    layer's state is never read, so the stack remembers less than `deep` and does not equal torch.nn.RNN. The
    arithmetic, and so the time, is the same. The cell is kept so that the tutorial's figures can be repeated.
    """

    def forward(self, input: Tensor, states: LayerStates) -> LayerStates:
        """One step: (batch, input), num_layers x (batch, hidden) -> num_layers x (batch, hidden)."""
        return super().forward(input, (states[0], *states[:-1]))

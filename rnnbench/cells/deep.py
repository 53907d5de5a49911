"""Deep cells: stacked combined cells.

In `DeepCell`, every layer reads its own state of the previous step:

    h'_l = tanh(W_l [h'_{l-1}; h_l] + b_l),   h'_0 = x

Pascanu et al. 2014 (arXiv:1312.6026), the stacked RNN of figure 2e, which is what torch.nn.RNN(num_layers=n) computes.

In `DeepNotebookCell`, as in the tutorial's notebook, each layer above the first reads the state of the layer *below*:

    h'_1 = tanh(W_1 [x; h_1] + b_1)
    h'_l = tanh(W_l [h'_{l-1}; h_{l-1}] + b_l),   l > 1

The top layer's state is never read, so the stack remembers less than `deep` and does not equal torch.nn.RNN. The
arithmetic, and so the time, is the same. The cell is kept so that the tutorial's figures can be repeated.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from rnnbench.cells.combined import CombinedCell
from rnnbench.store.records import Nonlinearity

LayerStates = tuple[Tensor, ...]


class DeepCell(nn.Module):
    """`cell(input, states) -> states'`, with one state (batch, hidden) for each layer."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int, nonlinearity: Nonlinearity = "tanh") -> None:
        super().__init__()
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(CombinedCell(size, hidden_size, nonlinearity) for size in sizes)

    def forward(self, input: Tensor, states: LayerStates) -> LayerStates:
        """Take one step: (batch, input), num_layers x (batch, hidden) -> num_layers x (batch, hidden)."""
        new = []
        for layer, h in zip(self.layers, states, strict=True):
            input = layer(input, h)
            new.append(input)
        return tuple(new)

    @staticmethod
    def weights_from(reference: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the cell's parameters as a function of those of torch.nn.RNN with as many layers."""
        num_layers = sum(name.startswith("weight_ih_l") for name in reference)
        return {
            f"layers.{layer}.{name}": weight
            for layer in range(num_layers)
            for name, weight in CombinedCell.weights_from(reference, layer).items()
        }


class DeepNotebookCell(DeepCell):
    """`cell(input, states) -> states'`, with the parameters of `DeepCell`."""

    def forward(self, input: Tensor, states: LayerStates) -> LayerStates:
        """Take one step: (batch, input), num_layers x (batch, hidden) -> num_layers x (batch, hidden)."""
        return super().forward(input, (states[0], *states[:-1]))

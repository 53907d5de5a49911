"""Deep cell of the tutorial notebook: each layer above the first reads the state of the layer *below* it.

    h'_1 = tanh(W_1 [x; h_1] + b_1)
    h'_l = tanh(W_l [h'_{l-1}; h_{l-1}] + b_l),   l > 1

The top layer's state is never read, so the stack remembers less than `deep` and does not equal torch.nn.RNN. The
arithmetic, and so the time, is the same. The cell is kept so that the tutorial's figures can be repeated.
"""

from torch import Tensor

from rnnbench.cells.deep import DeepCell, LayerStates


class DeepNotebookCell(DeepCell):
    """`cell(input, states) -> states'`, with the parameters of `DeepCell`."""

    def forward(self, input: Tensor, states: LayerStates) -> LayerStates:
        """One step: (batch, input), num_layers x (batch, hidden) -> num_layers x (batch, hidden)."""
        return super().forward(input, (states[0], *states[:-1]))

"""The model that is timed: a body (cell or torch.nn layer) run over the sequence, and the output head."""

from typing import Any

from torch import Tensor, nn

from rnnbench.cells.states import State, output, to_cell, to_layer
from rnnbench.store.records import Implementation
from rnnbench.workloads.implementations import RUNS


class SequenceModel(nn.Module):
    """`model(input, state) -> (output, state)`, the same on both sides of a comparison.

    `input`: (seq, batch, input), `output`: (seq, batch, output); `state` in the body's own form. The head is one
    product over all steps on both sides, so that it can't favour one of them.
    """

    def __init__(self, body: nn.Module, head: nn.Linear, implementation: Implementation, *, stacked: bool) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.run = RUNS[implementation]
        self.stacked = stacked

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the sequence: (seq, batch, input), state -> (seq, batch, output), state."""
        outputs, state = self.run(self.body, input, state, self.stacked)
        return self.head(outputs), state


class LayerStateModel(nn.Module):
    """A cell's sequence model that takes and gives states in torch.nn's form: what the parity gate compares."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """As `SequenceModel`, with `state`: (num_layers, batch, hidden), or two of them."""
        result, final = self.model(input, to_cell(state, stacked=self.model.stacked))
        return result, to_layer(final, stacked=self.model.stacked)


class StepModel(nn.Module):
    """One step of a cell with the head: what torchinfo counts."""

    def __init__(self, cell: Any, head: nn.Linear, *, stacked: bool) -> None:
        super().__init__()
        self.cell = cell
        self.head = head
        self.stacked = stacked

    def forward(self, input: Tensor, *states: Tensor) -> Tensor:
        """One step: (batch, input), the tensors of the state -> (batch, output)."""
        # torchinfo passes tensors one by one and counts their bytes; a cell takes them as one state.
        state = self.cell(input, states if self.stacked or len(states) > 1 else states[0])
        result: Tensor = self.head(output(state, stacked=self.stacked))
        return result

"""A cell that runs over a sequence, called as torch.nn's layers are."""

from torch import Tensor, nn

from rnnbench.cells.states import BATCHED, State
from rnnbench.harness.fastest.kinds import run_module
from rnnbench.harness.fastest.run_module import RunModule
from rnnbench.harness.fastest.ways import AS_GIVEN, way

STEP_BY_STEP = way("cell", AS_GIVEN)


class Unrolled(nn.Module):
    """`layer(input, state=None) -> (outputs, state)`, by one call of a cell for each step.

    The cell is the submodule `cell`; how it is called, and the size of its state, is found out in the first call.
    """

    def __init__(self, cell: nn.Module, *, batch_first: bool = False) -> None:
        """`batch_first`: whether the input is (batch, seq, features) instead of (seq, batch, features)."""
        super().__init__()
        self.cell = cell
        self.batch_first = batch_first
        # Not as submodules, which would hold the cell a second time: a cell, and how it is run
        self.__dict__["_found"] = None, None

    def forward(self, input: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Run the cell over a sequence; `state`: `h` or a tuple of tensors, each (1, batch, hidden).

        Without a state, the sequence begins with zeros or with the first state that the cell's own function gives.
        Raises ValueError for an input that is not a batch of sequences, a state of other shapes, a module that is no
        cell, and a cell whose first state is not zero, not given and not known.
        """
        if input.dim() != BATCHED:
            raise ValueError(f"input: expected (seq, batch, features), found {tuple(input.shape)}")
        by_step = input.transpose(0, 1) if self.batch_first else input
        run = self._run(by_step, state)
        outputs, final = STEP_BY_STEP(run.module, by_step, run.first_state(by_step, state))
        return outputs.transpose(0, 1) if self.batch_first else outputs, final

    def _run(self, input: Tensor, state: State) -> RunModule:
        found: RunModule
        cell, found = self.__dict__["_found"]
        if cell is not self.cell:
            run = run_module(self.cell, input, state)
            if run.kind != "cell":
                raise ValueError(
                    f"cell: {type(self.cell).__name__} runs whole sequences already, or rnnbench does not know how to "
                    "call it; expected one step, cell(input, state) -> state"
                )
            self.__dict__["_found"] = self.cell, run
            return run
        return found

"""A stream: one step a call, with the state carried over from call to call, as in production."""

from collections.abc import Sequence
from itertools import cycle

from torch import Tensor, nn

from rnnbench.cells.states import State
from rnnbench.workloads.inputs import Inputs
from rnnbench.workloads.phases import MODES, TimedCall


class StepStream:
    """Steps of a model from its first state on."""

    def __init__(self, model: nn.Module, inputs: Sequence[Tensor], state: State) -> None:
        """`model(input, state) -> (output, state)` for inputs of one step: (1, batch, input)."""
        self._model = model
        self._next_input = cycle(inputs).__next__
        self._first = self._state = state

    def step(self) -> Tensor:
        """The output of the next step: (1, batch, output)."""
        output: Tensor
        output, self._state = self._model(self._next_input(), self._state)
        return output

    def restart(self) -> None:
        """Begin again with the first state."""
        self._state = self._first


def streaming_call(model: nn.Module, inputs: Inputs, state: State) -> TimedCall:
    """The call of a stream: a step whose output is in the host's memory when the call returns."""
    stream = StepStream(model, inputs.tensors, state)
    return TimedCall(lambda: stream.step().cpu(), MODES["inference"], inputs=inputs, restart=stream.restart)

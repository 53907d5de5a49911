"""Bodies run over the sequence: cells in layers and directions, or a module that does so itself. Both are used alike.

A body has `body(input, state) -> (outputs, state)` for a sequence, (seq, batch, input) -> (seq, batch, features),
`body.step(input, state) -> (output, state)` for one step, (batch, input) -> (batch, features), and
`body.last(outputs, state)`, the top layer's final `h`, (batch, features). `features` is the hidden size, or twice that
with two directions.

The model that is timed: a body over the sequence, the output head, and the task that connects them. Its weights are a
differentiable function of those of its reference.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnbench.cells.states import State, output, outside_inference_mode, to_cell, to_layer
from rnnbench.cells.weights import Weights, cell_weights, shapes
from rnnbench.store.records import Head, Task
from rnnbench.workloads.implementations import FeedBack, Run, SequenceOptions, feed_back, loop

Module = TypeVar("Module", bound=nn.Module)
CallCell = Callable[[nn.Module, Tensor, State, bool], tuple[Tensor, State]]  # the last argument: in reverse


class Cells(nn.Module):
    """The hand-written counterpart of torch.nn.RNN: one cell for each layer and direction, in that order.

    A single cell takes its state directly; several take a tuple with one state for each. `stacked`: the single cell has
    layers of its own. Layers run one after the other over the whole sequence, as torch's do.
    """

    mask: Tensor | None

    def __init__(
        self,
        cells: Iterable[nn.Module],
        run: Run,
        *,
        stacked: bool = False,
        directions: int = 1,
        dropout: float = 0.0,
        lengths: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.run = run
        self.stacked = stacked
        self.directions = directions
        self.dropout = dropout
        self.register_buffer("mask", None if lengths is None else step_mask(lengths), persistent=False)

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a sequence."""
        return self._through_layers(self._run_cell, input, state)

    def step(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a step through all layers."""
        return self._through_layers(self._step_cell, input, state)

    def _run_cell(self, cell: nn.Module, input: Tensor, state: State, reverse: bool) -> tuple[Tensor, State]:
        return self.run(cell, input, state, SequenceOptions(self.stacked, reverse, self.mask))

    def _step_cell(self, cell: nn.Module, input: Tensor, state: State, _: bool) -> tuple[Tensor, State]:
        state = cell(input, state)
        return output(state, stacked=self.stacked), state

    def _through_layers(self, call: CallCell, input: Tensor, state: State) -> tuple[Tensor, State]:
        if len(self.cells) == 1:
            return call(self.cells[0], input, state, False)
        finals = []
        for first in range(0, len(self.cells), self.directions):
            if first and self.dropout:
                input = dropout(input, self.dropout, self.training)
            outputs = []
            for index in range(first, first + self.directions):
                output, final = call(self.cells[index], input, state[index], index > first)
                outputs.append(output)
                finals.append(final)
            input = torch.cat(outputs, dim=-1) if self.directions == 2 else outputs[0]
        return input, tuple(finals)

    def last(self, outputs: Tensor, state: State) -> Tensor:
        """Return the top layer's final `h`, both directions side by side."""
        if len(self.cells) == 1:
            return output(state, stacked=self.stacked)
        top = [output(final, stacked=False) for final in state[-self.directions :]]
        return torch.cat(top, dim=-1) if self.directions == 2 else top[0]


class TorchLayer(nn.Module):
    """A torch.nn.RNN, LSTM or GRU, or a user's own module with their signature.

    Torch's own layers get sequences of unequal `lengths` packed, or padded to the longest. Packing sorts by the lengths
    on the CPU and copies the order to the device and back. It does so in each call, for all users of torch.
    """

    mask: Tensor
    last_steps: Tensor
    rows: Tensor

    def __init__(
        self, layer: nn.Module, *, directions: int = 1, lengths: Tensor | None = None, is_padded: bool = False
    ) -> None:
        super().__init__()
        self.layer = layer
        self.directions = directions
        self.lengths = lengths  # (batch), on the CPU, as packing requires
        self.is_padded = is_padded
        self.has_state = True  # False: a user's own module that gives its outputs alone
        if lengths is not None and is_padded:  # on the device of the layer, or each call would copy them there
            self.register_buffer("mask", step_mask(lengths), persistent=False)
            self.register_buffer("last_steps", lengths - 1, persistent=False)
            self.register_buffer("rows", torch.arange(len(lengths)), persistent=False)

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a sequence; outputs after its end are zero. With padding, the final state is that after the padding."""
        if self.lengths is None:
            whole: tuple[Tensor, State] = self.layer(input, state)
            return whole
        if self.is_padded:
            outputs, final = self.layer(input, state)
            return outputs * self.mask, final
        packed = pack_padded_sequence(input, self.lengths, enforce_sorted=False)
        packed_outputs, final = self.layer(packed, state)
        outputs, _ = pad_packed_sequence(packed_outputs, total_length=len(input))
        return outputs, final

    def step(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run one step as a sequence of length 1: torch's layers have no other way."""
        outputs, state = self.layer(input[None], state)
        return outputs[0], state

    def last(self, outputs: Tensor, state: State) -> Tensor:
        """Return the top layer's final `h`, both directions side by side."""
        if self.lengths is not None and self.is_padded:
            return outputs[self.last_steps, self.rows]
        if not self.has_state:
            return outputs[-1]
        h = state if isinstance(state, Tensor) else state[0]  # (layers * directions, batch, hidden)
        return torch.cat(h[-2:].unbind(0), dim=-1) if self.directions == 2 else h[-1]


Body = Cells | TorchLayer


def own_module(body: Body) -> nn.Module:
    """Return the module of a user's own class in a body: the first cell, or the layer."""
    return body.cells[0] if isinstance(body, Cells) else body.layer


def step_mask(lengths: Tensor) -> Tensor:
    """Return a mask (longest, batch, 1), true where a sequence has that step; `lengths`: (batch)."""
    steps = torch.arange(int(lengths.max()))
    return (steps[:, None] < lengths[None, :])[..., None]


class OutputHead(nn.Linear):
    """The product that makes outputs of a body's features, and what follows it: (..., features) -> (..., output)."""

    def __init__(self, features: int, outputs: int, kind: Head) -> None:
        super().__init__(features, outputs)
        self.kind = kind

    def forward(self, input: Tensor) -> Tensor:
        """Return the outputs."""
        outputs = super().forward(input)
        return outputs.softmax(-1) if self.kind == "softmax" else outputs


class Headed(nn.Module):
    """`layer(input, state=None) -> (outputs, state)`, whose outputs go through a linear layer `head`."""

    def __init__(self, layer: nn.Module, outputs: int, features: int | None = None) -> None:
        """`features`: the last size of the layer's outputs; `outputs`: that of the head's.

        Raises ValueError if the number of features is not given and the layer does not say it.
        """
        super().__init__()
        if features is None:
            of_cell = getattr(getattr(layer, "cell", None), "hidden_size", None)
            hidden = getattr(layer, "proj_size", 0) or getattr(layer, "hidden_size", of_cell)
            if not isinstance(hidden, int):
                raise ValueError(
                    f"features: {type(layer).__name__} has no hidden_size; give the last size of its outputs as "
                    "features="
                )
            features = hidden * (2 if getattr(layer, "bidirectional", False) else 1)
        self.layer = layer
        self.head = nn.Linear(features, outputs)

    def forward(self, input: Tensor, *state: Any) -> tuple[Tensor, Any]:
        """Run the layer and the head: (..., features) -> (..., outputs), and the layer's state."""
        outputs, final = self.layer(input, *state)
        return self.head(outputs), final


class SequenceModel(nn.Module):
    """`model(input, state) -> (output, state)`, the same on both sides of a comparison.

    `input`: (steps, batch, input), `output`: (steps, batch, output); `state` in the body's own form. The task decides
    what goes into the sequence and which steps give an output, whether the body is made of cells or a torch.nn layer.
    """

    def __init__(
        self,
        body: Body,
        head: OutputHead,
        task: Task,
        *,
        output_steps: int = 1,
        decoder: Body | None = None,
    ) -> None:
        """`output_steps`: for a task that feeds outputs back; `decoder`: the second body of encoder_decoder."""
        super().__init__()
        self.body = body
        self.head = head
        self.decoder = decoder
        self.task = task
        self.output_steps = output_steps
        self.feed_back: FeedBack = feed_back
        self.takes_own_gradients = False  # and so can't run in inference mode
        self.autocast: torch.dtype | None = None  # the type that torch.autocast computes with; None without it

    @property
    def bodies(self) -> list[Body]:
        """The body, and the decoder if there is one."""
        return [self.body] if self.decoder is None else [self.body, self.decoder]

    def looped(self) -> "SequenceModel":
        """Return the same model, with the same parts, whose cells are called once for each step."""
        model = _twin(self)
        model.feed_back = feed_back
        for name, body in (("body", self.body), ("decoder", self.decoder)):
            if isinstance(body, Cells):
                looped = _twin(body)
                looped.run = loop
                setattr(model, name, looped)
        return model

    @property
    def is_stacked(self) -> bool:
        """Whether the body is made of cells and takes a tuple of states."""
        return isinstance(self.body, Cells) and (self.body.stacked or len(self.body.cells) > 1)

    def own_state(self, layer_state: State) -> State:
        """Return a state (num_layers * directions, batch, hidden), or two of them, in the form that the body takes."""
        return to_cell(layer_state, stacked=self.is_stacked) if isinstance(self.body, Cells) else layer_state

    def on_layer_state(self, runner: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Call `runner`, the model or a recording of it; states are in torch.nn's form."""
        output, final = runner(input, self.own_state(state))
        return output, to_layer(final, stacked=self.is_stacked) if isinstance(self.body, Cells) else final

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the task."""
        if self.takes_own_gradients and torch.is_inference_mode_enabled():
            with outside_inference_mode():
                return self._run_in_type(input, state)
        return self._run_in_type(input, state)

    def _run_in_type(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the task, under autocast if that is asked for: forward alone, as torch advises; the output is float32."""
        if self.autocast is None:
            return self._run(input, state)
        with torch.autocast(input.device.type, self.autocast):
            output, final = self._run(input, state)
        return output.float(), final

    def _run(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        if self.task == "one_to_many":  # each further step gets the previous output
            return self.feed_back(self.body, self.head, input[0], state, self.output_steps)
        outputs, state = self.body(input, state)
        if self.decoder is not None:  # it starts from zeros and the encoder's final state, and gets its own outputs
            start = input.new_zeros(input.shape[1], self.head.out_features)
            return self.feed_back(self.decoder, self.head, start, state, self.output_steps)
        if self.task == "many_to_one":
            return self.head(self.body.last(outputs, state))[None], state
        return self.head(outputs), state  # one product over all steps


def _twin(module: Module) -> Module:
    """Return a module with the same parts and parameters, whose own attributes can be set apart."""
    twin = copy(module)
    twin._modules = dict(module._modules)
    return twin


def model_weights(model: SequenceModel, reference: Weights) -> dict[str, Tensor] | None:
    """Return the parameters of `model`, by name, as a function of those of the reference's `SequenceModel`.

    Returns None and raises CellError as `cell_weights`.
    """
    if any(name.startswith("body.cells.") for name in reference):  # another cell, with the same parameters
        return dict(reference) if shapes(dict(model.named_parameters())) == shapes(reference) else None
    mapped = {name: weight for name, weight in reference.items() if name.startswith("head.")}
    for part, body in zip(("body", "decoder"), model.bodies, strict=False):
        start = f"{part}.layer."
        weights_of_part = {
            name.removeprefix(start): weight for name, weight in reference.items() if name.startswith(start)
        }
        for place, module, weights in _modules(body, weights_of_part):
            of_module = cell_weights(module, weights, whole=not isinstance(body, Cells))
            if of_module is None:
                return None
            mapped |= {f"{part}.{place}.{name}": weight for name, weight in of_module.items()}
    return mapped


def _modules(body: Body, reference: Weights) -> Iterator[tuple[str, nn.Module, Weights]]:
    """Yield each module of a body, its place there, and the layer's weights that it has.

    The weights of one layer and direction are named as those of the first.
    """
    if not isinstance(body, Cells):
        yield "layer", body.layer, reference
        return
    for index, cell in enumerate(body.cells):
        layer, direction = divmod(index, body.directions)
        ending = f"_l{layer}{'_reverse' if direction else ''}"
        like_a_layer = {
            f"{key.removesuffix(ending)}_l0": each for key, each in reference.items() if key.endswith(ending)
        }
        yield f"cells.{index}", cell, reference if body.stacked else like_a_layer


def copied_weights(module: nn.Module) -> bool:
    """Return True if a layer of torch.nn on a GPU copies its weights in each call, since they are not in one block."""
    return any(
        len({weight.untyped_storage().data_ptr() for weight in layer.parameters()}) > 1
        for layer in module.modules()
        if isinstance(layer, nn.RNNBase) and next(layer.parameters()).is_cuda
    )

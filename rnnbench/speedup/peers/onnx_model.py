"""An ONNX model of a recurrent module, built from its weights: one operator LSTM, GRU or RNN for each layer.

The operators are those of opset 14, which ONNX Runtime and OpenVINO read. A model has the batch and the length of one
shape, and its weights are constants.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnbench.adapt.kinds import RunModule
from rnnbench.cells.states import State
from rnnbench.speedup.equal_layer import LayerFunction, equal_layer
from rnnbench.store.metrics import Unavailable

OPSET = 14
IR_VERSION = 8  # of the format of a file; every runtime that has the opset reads it
OPERATORS: dict[LayerFunction, str] = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}
# The operator's first, second, ... gate, as the number of torch's: ONNX has i, o, f, c and z, r, h.
GATE_ORDER: dict[str, tuple[int, ...]] = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
WEIGHT_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
NO_OPERATOR = "there is no such operator: ONNX has LSTM, GRU and RNN, as torch.nn computes them"


@dataclass(frozen=True)
class Recurrence:
    """A recurrent layer, or several, with its weights as they are now."""

    function: LayerFunction
    layers: tuple[tuple[tuple[Tensor, ...], ...], ...]  # of each layer, each direction: the four `WEIGHT_PARTS`

    @property
    def hidden_size(self) -> int:
        """The values of a state."""
        return self.layers[0][0][1].shape[-1]

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the tensors of a state."""
        return ("h", "c") if self.function == "lstm" else ("h",)


def recurrence_of(run: RunModule, input: Tensor, state: State) -> Recurrence:
    """Return what a module computes, if it is what torch.nn's layers compute; raises Unavailable otherwise.

    `input`: (seq, batch, features); `state`: as torch.nn's layers take it.
    """
    if torch.is_autocast_enabled(input.device.type):
        raise Unavailable("it can't round as torch's autocast does")
    layer: Any = run.module
    if run.kind == "cell":
        equal = equal_layer(layer, input, state)
        if equal is None:
            raise Unavailable(NO_OPERATOR)
        function: Any = equal.function
        layers: tuple[Any, ...] = ((tuple(equal.weights(layer)),),)
    elif run.kind == "layer":
        if layer.proj_size:
            raise Unavailable(f"{NO_OPERATOR}, without a projection")
        function = f"rnn_{layer.nonlinearity}" if type(layer) is nn.RNN else layer.mode.lower()
        layers = tuple(tuple(_directions(layer, number)) for number in range(layer.num_layers))
    else:
        raise Unavailable(f"{NO_OPERATOR}, and this module runs whole sequences by code of its own")
    tensors = [input, *(part for directions in layers for parts in directions for part in parts)]
    if types := {str(tensor.dtype)[6:] for tensor in tensors} - {"float32"}:
        raise Unavailable(f"it is compared in float32 alone, and this is {min(types)}")
    return Recurrence(function, layers)


def _directions(layer: Any, number: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield the weights of each direction of a layer of torch.nn."""
    for ending in ("", "_reverse")[: 1 + layer.bidirectional]:
        weights = [layer._parameters.get(f"{part}_l{number}{ending}") for part in WEIGHT_PARTS]
        zeros = weights[0].new_zeros(len(weights[0]))
        yield tuple(zeros if weight is None else weight for weight in weights)


def model_bytes(recurrence: Recurrence, steps: int, batch: int) -> bytes:
    """Return a model with the inputs `input` (seq, batch, features) and `h`, `c`, each (layers, batch, hidden).

    Its outputs are `outputs` (seq, batch, features) and `final_h`, `final_c`.
    """
    from onnx import TensorProto, helper

    hidden = recurrence.hidden_size
    features = recurrence.layers[0][0][0].shape[-1]
    directions = len(recurrence.layers[0])
    builder = _Graph(recurrence)
    sizes = [len(recurrence.layers) * directions, batch, hidden]

    def value(name: str, shape: list[int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    builder.build()
    states = recurrence.states
    graph = helper.make_graph(
        builder.nodes,
        "recurrence",
        [value("input", [steps, batch, features]), *(value(name, sizes) for name in states)],
        [
            value("outputs", [steps, batch, directions * hidden]),
            *(value(f"final_{name}", sizes) for name in states),
        ],
        builder.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString())


class _Graph:
    """The nodes and constants of a model."""

    def __init__(self, recurrence: Recurrence) -> None:
        self.recurrence = recurrence
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def build(self) -> None:
        """Add one operator for each layer, and what puts states and outputs into torch's layout."""
        layers = self.recurrence.layers
        directions = len(layers[0])
        starts = self._states_of_layers(len(layers), directions)
        ends: dict[str, list[str]] = {name: [] for name in self.recurrence.states}
        values = "input"
        for number, weights in enumerate(layers):
            first = [starts[name][number] for name in self.recurrence.states]
            last = [f"{name}_end_{number}" for name in self.recurrence.states]
            values = self._layer(number, weights, values, first, last)
            for name, each in zip(self.recurrence.states, last, strict=True):
                ends[name].append(each)
        self._add("Identity", [values], ["outputs"])
        for name, parts in ends.items():
            self._add("Concat", parts, [f"final_{name}"], axis=0)

    def _states_of_layers(self, layers: int, directions: int) -> dict[str, list[str]]:
        """Return the names of the first states of each layer, which are split off the inputs."""
        names = self.recurrence.states
        if layers == 1:
            return {name: [name] for name in names}
        parts = {name: [f"{name}_begin_{number}" for number in range(layers)] for name in names}
        sizes = self._constant("sizes", np.full(layers, directions, dtype=np.int64))
        for name in names:
            self._add("Split", [name, sizes], parts[name], axis=0)
        return parts

    def _layer(self, number: int, weights: Any, values: str, first: list[str], last: list[str]) -> str:
        """Add the operator of one layer; returns the name of its outputs (seq, batch, directions * hidden)."""
        operator = OPERATORS[self.recurrence.function]
        gates = GATE_ORDER[operator]
        ordered = [[_by_gate(part, gates) for part in parts] for parts in weights]
        matrices = [
            self._constant(f"{name}_{number}", np.stack([parts[place] for parts in ordered]))
            for place, name in enumerate(("W", "R"))
        ]
        biases = self._constant(f"B_{number}", np.stack([np.concatenate(parts[2:]) for parts in ordered]))
        directions = len(weights)
        options: dict[str, Any] = {
            "hidden_size": self.recurrence.hidden_size,
            "direction": "bidirectional" if directions > 1 else "forward",
        }
        if operator == "GRU":
            options["linear_before_reset"] = 1  # as torch resets the state's product, and not the state
        if operator == "RNN":
            options["activations"] = ["Relu" if self.recurrence.function == "rnn_relu" else "Tanh"] * directions
        by_direction = f"by_direction_{number}"  # (seq, directions, batch, hidden)
        self._add(operator, [values, *matrices, biases, "", *first], [by_direction, *last], **options)
        outputs = f"outputs_{number}"
        if directions == 1:
            self._add("Squeeze", [by_direction, self._constant(f"axis_{number}", np.array([1]))], [outputs])
            return outputs
        self._add("Transpose", [by_direction], [f"turned_{number}"], perm=[0, 2, 1, 3])
        width = directions * self.recurrence.hidden_size
        shape = self._constant(f"shape_{number}", np.array([0, 0, width]))  # 0: as the input has it
        self._add("Reshape", [f"turned_{number}", shape], [outputs])
        return outputs

    def _add(self, operator: str, inputs: list[str], outputs: list[str], **options: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, outputs, **options))

    def _constant(self, name: str, values: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(values, name))
        return name


def _by_gate(weight: Tensor, gates: tuple[int, ...]) -> np.ndarray:
    """Return a weight, or a bias, with its gates in another order."""
    parts = weight.detach().chunk(len(gates))
    return torch.cat([parts[gate] for gate in gates]).numpy()

"""The layer of torch.nn that computes the same as a cell, with the weights that the cell has at the moment.

A layer of torch.nn runs a sequence in one call: in oneDNN on a processor, in cuDNN on a GPU. A cell that computes the
same can use it, in whatever form it keeps its weights: a matrix for all gates or one for each, gates in another order,
one matrix for input and state, stored by row or by column, with one bias, two or none, and an update gate that says how
much is new or how much stays. These forms are tried on a copy of the cell with random weights.
"""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from rnnbench.adapt.contract import on_trial
from rnnbench.cells.states import State, leaves, to_cell, to_layer
from rnnbench.harness.live.live_cases import keep_process
from rnnbench.harness.machine import global_state
from rnnbench.workloads.implementations import SequenceOptions, loop

LayerFunction = Literal["lstm", "gru", "rnn_tanh", "rnn_relu"]  # of torch
FUNCTIONS: dict[int, dict[LayerFunction, int]] = {  # tensors of the state -> function -> gates
    1: {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3},
    2: {"lstm": 4},
}
# of a trial
STEPS = 3
BATCH = 2
# Standard deviations of weights, input and state in a trial. Large inputs and states find a cell that limits them.
TRIALS = (0.5, 1.0, 1.0), (0.005, 100.0, 1.0), (0.5, 1.0, 1e4)
TOLERANCE = 1e-4  # of a trial, relative or of the states; weights in another order are off by a tenth and more
UPDATE = 1  # the gate of a GRU that may be the opposite

# Which gate of the cell is the layer's first, second, ...; with -1, the opposite: sigmoid(-x) is 1 - sigmoid(x).
GateOrder = tuple[tuple[int, int], ...]
Paths = tuple[str, ...]  # of a parameter for all gates, or of one for each
SIMPLE = (bool, int, float, complex, str, bytes)  # compared by value, everything else by identity
GROWING = (list, dict, set)  # their lengths count, since code may add to them
OF_EVERY_MODULE = frozenset(vars(nn.Module()))  # its tensors, hooks and mode


@dataclass(frozen=True)
class EqualLayer:
    """A layer of torch.nn in place of a cell, and where its weights are in the cell."""

    function: LayerFunction
    gates: GateOrder
    matrices: tuple[tuple[Paths, slice], ...]  # of input and state, with the columns that count
    is_turned: bool  # matrices are stored by column
    biases: tuple[Paths, ...]  # of input and state; of none if it is zero

    def to_json(self, prefix: str = "") -> dict[str, Any]:
        """Return it for JSON, where all names of weights that begin with a prefix do so, without it."""

        def named(paths: Paths) -> list[str]:
            return [path.removeprefix(prefix) for path in paths]

        matrices = [[named(paths), columns.start, columns.stop] for paths, columns in self.matrices]
        biases = [named(paths) for paths in self.biases]
        fixed = {"function": self.function, "gates": self.gates, "is_turned": self.is_turned}
        return {**fixed, "matrices": matrices, "biases": biases}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Invert `to_json`."""
        return cls(
            function=raw["function"],
            gates=tuple((gate, sign) for gate, sign in raw["gates"]),
            matrices=tuple((tuple(paths), slice(start, stop)) for paths, start, stop in raw["matrices"]),
            is_turned=raw["is_turned"],
            biases=tuple(map(tuple, raw["biases"])),
        )

    def weights(self, cell: nn.Module) -> list[Tensor]:
        """Return the weights as they are now, differentiably: the parameters themselves where they have this form."""
        matrices = [self._weight(cell, paths, columns) for paths, columns in self.matrices]
        rows = matrices[0]
        return [
            *matrices,
            *(self._weight(cell, paths) if paths else rows.new_zeros(len(rows)) for paths in self.biases),
        ]

    def _weight(self, cell: nn.Module, paths: Paths, columns: slice | None = None) -> Tensor:
        """Return a matrix, or a bias, in the order of the layer's gates."""
        parts: list[Any] = [cell.get_parameter(path) for path in paths]  # another tensor than in the last call, maybe
        if columns is None:
            parts = [part.flatten() for part in parts]
        elif self.is_turned:
            parts = [part.t() for part in parts]
        whole: Tensor = parts[0] if len(parts) == 1 else torch.cat(parts)
        whole = whole if columns is None else whole[:, columns]
        if self.gates == tuple((gate, 1) for gate in range(len(self.gates))):
            return whole.contiguous()
        by_gate = whole.chunk(len(self.gates))
        return torch.cat([by_gate[gate] if sign > 0 else -by_gate[gate] for gate, sign in self.gates])

    def __call__(self, cell: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a sequence (seq, batch, features) with the cell's weights; states are (1, batch, hidden)."""
        run: Any = getattr(torch, self.function)
        trains = torch.is_grad_enabled()  # else oneDNN keeps nothing for backward
        # cuDNN warns that it copies weights into one piece of memory: they are the cell's, which stay apart.
        with warnings.catch_warnings(action="ignore") if input.is_cuda else nullcontext():
            outputs, *final = run(input, state, self.weights(cell), True, 1, 0.0, trains, False, False)
        return outputs, final[0] if len(final) == 1 else tuple(final)


def equal_layer(cell: nn.Module, input: Tensor, state: State) -> EqualLayer | None:
    """Return the layer that computes the same as a cell, in both modes and with any weights; None if there is none.

    `input`: (seq, batch, features); `state`: as torch.nn's layers take it. Raises what the cell raises in a trial.
    """
    parts = leaves(state)
    hidden = parts[0].shape[-1]
    is_usual = all(part.shape == (1, input.shape[1], hidden) and part.dtype == input.dtype for part in parts)
    trial = on_trial(cell)  # the cell itself if it can't be copied
    if trial is cell or not (is_usual and input.is_floating_point()) or any(True for _ in cell.buffers()):
        return None
    dtype = input.dtype if input.dtype in (torch.float32, torch.float64) else torch.float32
    like = input.new_empty(STEPS, BATCH, input.shape[-1], dtype=dtype)
    begun = [like.new_empty(1, BATCH, hidden) for _ in parts]
    with torch.no_grad(), ExitStack() as put_back:
        keep_process(put_back)
        global_state.restore({"cuDNN TF32": False})  # else a GPU's layers are too coarse to be told apart
        trial = trial.to(dtype)
        layers = _forms(trial, FUNCTIONS.get(len(parts), {}), like.shape[-1], hidden)
        before = traits_of(trial)
        for deviations in TRIALS:
            layers = layers and _equal(layers, trial, like, begun, deviations)
        if is_alike(before, traits_of(trial)):  # else its code counts or keeps something, which a layer would not
            return next(iter(layers), None)
    return None


def _equal(
    layers: list[EqualLayer], cell: nn.Module, input: Tensor, parts: list[Tensor], deviations: tuple[float, ...]
) -> list[EqualLayer]:
    """Return the layers that give what the cell gives in a trial; none if its mode matters. Fills all tensors."""
    torch.manual_seed(0)
    of_weights, of_input, of_state = deviations
    for parameter in cell.parameters():
        parameter.normal_(0, of_weights)
    input.normal_(0, of_input)
    state = tuple(part.normal_(0, of_state) for part in parts) if len(parts) > 1 else parts[0].normal_(0, of_state)
    expected = []
    for mode in (True, False):
        outputs, final = loop(cell.train(mode), input, to_cell(state, stacked=False), SequenceOptions())
        expected.append((outputs, *leaves(to_layer(final, stacked=False))))

    def agrees(layer: EqualLayer) -> bool:
        outputs, final = layer(cell, input, state)
        pairs = zip((outputs, *leaves(final)), expected[0], strict=True)
        return all(torch.allclose(mine, like, rtol=TOLERANCE, atol=TOLERANCE * of_state) for mine, like in pairs)

    return list(filter(agrees, layers)) if all(map(torch.equal, *expected)) else []


def _forms(cell: nn.Module, functions: Mapping[LayerFunction, int], inputs: int, hidden: int) -> list[EqualLayer]:
    """Return all layers whose weights a cell's parameters may stand for, by their shapes."""
    shapes = {path: tuple(parameter.shape) for path, parameter in cell.named_parameters()}
    may_be_flat = 1 not in (inputs, hidden)  # else a matrix has a dimension of 1, too
    flat = tuple(path for path, shape in shapes.items() if len(shape) <= 1 or (may_be_flat and 1 in shape))
    matrices = tuple(path for path in shapes if path not in flat)
    pairs: list[Any] = [tuple((half, slice(None)) for half in halves) for halves in _halves(matrices)]
    # One matrix for both, in either order.
    pairs += [((matrices, slice(inputs)), (matrices, slice(inputs, None)))]
    pairs += [((matrices, slice(hidden, None)), (matrices, slice(hidden)))]
    biases = [(flat, ()), ((), flat), *_halves(flat)] if flat else [((), ())]
    forms = []
    for (function, gates), pair, is_turned, of_bias in product(functions.items(), pairs, (False, True), biases):
        layer = EqualLayer(function, tuple((gate, 1) for gate in range(gates)), pair, is_turned, of_bias)
        rows = gates * hidden
        with suppress(RuntimeError, IndexError):  # parameters that can't be one weight
            if [weight.shape for weight in layer.weights(cell)] != [(rows, inputs), (rows, hidden), (rows,), (rows,)]:
                continue
            for order, sign in product(permutations(range(gates)), (1, -1) if function == "gru" else (1,)):
                signed = tuple((gate, sign if index == UPDATE else 1) for index, gate in enumerate(order))
                forms.append(replace(layer, gates=signed))
    return forms


def _halves(paths: Paths) -> list[tuple[Paths, Paths]]:
    """Return the parameters of the input and of the state: half and half, or in turns; either may come first."""
    half = len(paths) // 2
    if not half or len(paths) % 2:
        return []
    parts = paths[:half], paths[half:], paths[::2], paths[1::2]
    return list(dict.fromkeys((parts[one], parts[other]) for one, other in ((0, 1), (1, 0), (2, 3), (3, 2))))


def traits_of(module: nn.Module) -> list[Any]:
    """Return the code and the attributes of a module and its parts, to be compared by `is_alike`."""
    traits: list[Any] = []
    for part in module.modules():
        traits += type(part).forward, *part._buffers
        for name, parameter in part._parameters.items():
            traits += name, parameter is None
        for name, value in vars(part).items():
            if name not in OF_EVERY_MODULE:
                traits += name, value, len(value) if isinstance(value, GROWING) else None
    return traits


def is_alike(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Return whether nothing has changed; a change within an object that keeps its length is not seen."""
    return len(before) == len(after) and all(
        old is new or (type(old) is type(new) and isinstance(old, SIMPLE) and bool(old == new))
        for old, new in zip(before, after, strict=True)
    )

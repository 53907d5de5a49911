"""The layer of torch.nn that computes the same as a cell, with the weights that the cell has at the moment.

A layer of torch.nn runs a sequence in one call: in oneDNN on a processor, in cuDNN on a GPU. A cell that computes the
same can use it, in whatever form it keeps its weights: a matrix for all gates or one for each, gates in another order,
one matrix for input and state, stored by row or by column, with one bias, two or none, and an update gate that says how
much is new or how much stays. These forms are tried on a copy of the cell with random weights.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rnnbench.adapt.states import on_trial
from rnnbench.cells.states import State, leaves, to_cell, to_layer
from rnnbench.harness.live.put_back import keep_process
from rnnbench.workloads.implementations import SequenceOptions, loop

LayerFunction = Literal["lstm", "gru", "rnn_tanh", "rnn_relu"]  # of torch
FUNCTIONS: dict[int, dict[LayerFunction, int]] = {  # tensors of the state -> function -> gates
    1: {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3},
    2: {"lstm": 4},
}
STEPS, BATCH = 3, 2  # of a trial
TOLERANCE = 1e-4  # of a trial, relative or absolute; weights in another order are off by a tenth and more
MATRIX = 2  # dimensions


# Which gate of the cell is the layer's first, second, ...; with -1, the opposite: sigmoid(-x) is 1 - sigmoid(x).
GateOrder = tuple[tuple[int, int], ...]
UPDATE = 1  # the gate of a GRU that may be the opposite


@dataclass(frozen=True)
class PartOfWeight:
    """What a parameter adds to a weight of a layer: some gates in all columns or, of one matrix for both, in some."""

    path: tuple[str, ...]  # of the parameter in the cell
    is_turned: bool = False
    columns: tuple[int, int] | None = None  # all if None
    is_bias: bool = False

    def of(self, cell: nn.Module) -> Tensor:
        """The part as it is now; the parameter may be another tensor than in the last call."""
        *modules, name = self.path
        owner: Any = cell
        for module in modules:
            owner = owner._modules[module]
        weight: Tensor = owner._parameters[name]
        if self.is_bias:
            return weight.flatten()
        weight = weight.t() if self.is_turned else weight
        return weight if self.columns is None else weight[:, slice(*self.columns)]


@dataclass(frozen=True)
class LayerWeight:
    """A matrix (gates * hidden, size) or a bias (gates * hidden) of a layer, made from parameters of a cell."""

    parts: tuple[PartOfWeight, ...]
    gates: GateOrder

    def of(self, cell: nn.Module) -> Tensor:
        """The weight as it is now, differentiably; the parameter itself if it has the layer's form."""
        parts = [part.of(cell) for part in self.parts]
        if self.gates == tuple((gate, 1) for gate in range(len(self.gates))):
            return (parts[0] if len(parts) == 1 else torch.cat(parts)).contiguous()
        by_gate = parts[0].chunk(len(self.gates)) if len(parts) == 1 else parts
        return torch.cat([by_gate[gate] if sign > 0 else -by_gate[gate] for gate, sign in self.gates])


@dataclass(frozen=True)
class EqualLayer:
    """A layer of torch.nn in place of a cell."""

    function: LayerFunction
    weights: tuple[LayerWeight | None, ...]  # of input and state, then both biases; None is zero

    def __call__(self, cell: nn.Module, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a sequence (seq, batch, features) with the cell's weights; states are (1, batch, hidden)."""
        input_weight, state_weight, *biases = [None if each is None else each.of(cell) for each in self.weights]
        assert input_weight is not None
        assert state_weight is not None
        flat = [input_weight, state_weight]
        has_bias = any(bias is not None for bias in biases)
        if has_bias:
            flat += [input_weight.new_zeros(len(input_weight)) if bias is None else bias for bias in biases]
        run: Any = getattr(torch, self.function)
        trains = torch.is_grad_enabled()  # else oneDNN keeps nothing for backward
        with _silent_cudnn() if input.is_cuda else nullcontext():
            outputs, *final = run(input, state, flat, has_bias, 1, 0.0, trains, False, False)
        return outputs, final[0] if len(final) == 1 else tuple(final)


@contextmanager
def _silent_cudnn() -> Iterator[None]:
    """Without the warning that cuDNN copies weights into one piece of memory: they are the cell's, which stay apart."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        yield


def equal_layer(cell: nn.Module, input: Tensor, state: State) -> EqualLayer | None:
    """The layer that computes the same as a cell, in both modes and with any weights; None if there is none.

    `input`: (seq, batch, features); `state`: as torch.nn's layers take it.
    """
    parts = leaves(state)
    hidden = parts[0].shape[-1]
    is_usual = all(part.shape == (1, input.shape[1], hidden) and part.dtype == input.dtype for part in parts)
    if not (is_usual and input.is_floating_point()) or any(True for _ in cell.buffers()):
        return None
    trial = on_trial(cell)
    if trial is cell:  # it can't be copied
        return None
    with ExitStack() as put_back, suppress(Exception):  # whatever a stranger's code raises: then it is no such cell
        keep_process(put_back)
        torch.backends.cudnn.allow_tf32 = False  # else a GPU's layers are too coarse to be told apart
        return _on_trial(trial, input, len(parts), hidden)
    return None


@dataclass(frozen=True)
class TrialCall:
    """A call of a cell with random values of these sizes."""

    weights: float
    input: float
    state: float


# Large inputs and states find a cell that limits them.
TRIALS = TrialCall(0.5, 1.0, 1.0), TrialCall(0.005, 100.0, 1.0), TrialCall(0.5, 1.0, 1e4)


@torch.no_grad()
def _on_trial(cell: nn.Module, like: Tensor, states: int, hidden: int) -> EqualLayer | None:
    """The equal layer of a cell whose weights may be lost."""
    dtype = like.dtype if like.dtype in (torch.float32, torch.float64) else torch.float32
    cell = cell.to(dtype)
    input = like.new_empty(STEPS, BATCH, like.shape[-1], dtype=dtype)
    candidates = [
        EqualLayer(function, weights)
        for function, gates in FUNCTIONS.get(states, {}).items()
        for weights in _forms(cell, function, gates, like.shape[-1], hidden)
    ]
    before = traits_of(cell)
    for trial in TRIALS:
        if candidates:
            candidates = _equal(candidates, cell, input, states, hidden, trial)
    if not is_alike(before, traits_of(cell)):  # its code counts or keeps something, which a layer would not
        return None
    return next(iter(candidates), None)


def _equal(
    candidates: Sequence[EqualLayer], cell: nn.Module, input: Tensor, states: int, hidden: int, trial: TrialCall
) -> list[EqualLayer]:
    """The layers that give what the cell gives in a trial; none if its mode matters. Fills `input`."""
    generator = torch.Generator(device=input.device).manual_seed(0)
    for parameter in cell.parameters():
        parameter.normal_(0, trial.weights, generator=generator)
    input.normal_(0, trial.input, generator=generator)
    parts = tuple(input.new_empty(1, BATCH, hidden).normal_(0, trial.state, generator=generator) for _ in range(states))
    state = parts[0] if states == 1 else parts
    expected = []
    for mode in (True, False):
        outputs, final = loop(cell.train(mode), input, to_cell(state, stacked=False), SequenceOptions())
        expected.append((outputs, *leaves(to_layer(final, stacked=False))))
    if not all(map(torch.equal, *expected)):
        return []
    return [layer for layer in candidates if _agrees(layer(cell, input, state), expected[0])]


def _agrees(result: tuple[Tensor, State], expected: Sequence[Tensor]) -> bool:
    outputs, final = result
    found = (outputs, *leaves(final))
    return all(
        torch.allclose(mine, like, rtol=TOLERANCE, atol=TOLERANCE) for mine, like in zip(found, expected, strict=True)
    )


def _forms(
    cell: nn.Module, function: LayerFunction, gates: int, inputs: int, hidden: int
) -> Iterator[tuple[LayerWeight | None, ...]]:
    """All weights of a layer with so many gates that a cell's parameters may stand for, by their shapes."""
    shapes = {tuple(name.split(".")): tuple(parameter.shape) for name, parameter in cell.named_parameters()}
    may_be_flat = 1 not in (inputs, hidden)  # else a matrix has a dimension of 1, too
    flat = {path for path, shape in shapes.items() if len(shape) < MATRIX or (may_be_flat and 1 in shape)}
    matrices = {path: shape for path, shape in shapes.items() if path not in flat}
    biases = {path: math.prod(shapes[path]) for path in shapes if path in flat}
    for (of_input, of_state), (input_bias, state_bias), order in product(
        _matrices(matrices, gates, inputs, hidden), list(_biases(biases, gates, hidden)), list(_orders(function, gates))
    ):
        yield tuple(
            LayerWeight(parts, order) if parts else None for parts in (of_input, of_state, input_bias, state_bias)
        )


def _orders(function: LayerFunction, gates: int) -> Iterator[GateOrder]:
    for order in permutations(range(gates)):
        for sign in (1, -1) if function == "gru" else (1,):
            yield tuple((gate, sign if index == UPDATE else 1) for index, gate in enumerate(order))


Parts = tuple[PartOfWeight, ...]


def _matrices(
    shapes: dict[tuple[str, ...], tuple[int, ...]], gates: int, inputs: int, hidden: int
) -> Iterator[tuple[Parts, Parts]]:
    """The parts of both matrices of a layer: from one matrix for all gates or one for each, for both or for one."""
    paths = list(shapes)
    for turned in (False, True):
        if len(paths) in (1, gates):
            rows, width = gates * hidden // len(paths), inputs + hidden
            if all(_fits(shapes[path], rows, width, turned=turned) for path in paths):
                for columns in (((0, inputs), (inputs, width)), ((hidden, width), (0, hidden))):
                    first, second = (tuple(PartOfWeight(path, turned, part) for path in paths) for part in columns)
                    yield first, second
        for of_input, of_state in _halves(paths):
            if len(of_input) in (1, gates):
                rows = gates * hidden // len(of_input)
                if all(_fits(shapes[path], rows, inputs, turned=turned) for path in of_input) and all(
                    _fits(shapes[path], rows, hidden, turned=turned) for path in of_state
                ):
                    yield (
                        tuple(PartOfWeight(path, turned) for path in of_input),
                        tuple(PartOfWeight(path, turned) for path in of_state),
                    )


def _fits(shape: tuple[int, ...], rows: int, columns: int, *, turned: bool) -> bool:
    return shape == ((columns, rows) if turned else (rows, columns))


def _biases(sizes: dict[tuple[str, ...], int], gates: int, hidden: int) -> Iterator[tuple[Parts, Parts]]:
    """The parts of both biases of a layer; no parts where it has none."""
    paths = list(sizes)
    if not paths:
        yield (), ()
    if len(paths) in (1, gates) and all(sizes[path] * len(paths) == gates * hidden for path in paths):
        every = tuple(PartOfWeight(path, is_bias=True) for path in paths)
        yield every, ()
        yield (), every
    for first, second in _halves(paths):
        if len(first) in (1, gates) and all(sizes[path] * len(first) == gates * hidden for path in paths):
            yield (
                tuple(PartOfWeight(path, is_bias=True) for path in first),
                tuple(PartOfWeight(path, is_bias=True) for path in second),
            )


def _halves(paths: list[tuple[str, ...]]) -> Iterator[tuple[list[tuple[str, ...]], list[tuple[str, ...]]]]:
    """Parameters of the input and of the state: the first half and the second, or in turns; either may come first."""
    half, is_odd = divmod(len(paths), 2)
    if is_odd or not paths:
        return
    pairs = [(paths[:half], paths[half:])]
    if half > 1:
        pairs.append((paths[::2], paths[1::2]))
    for first, second in pairs:
        yield first, second
        yield second, first


SIMPLE = (bool, int, float, complex, str, bytes)  # compared by value, everything else by identity
GROWING = (list, dict, set)  # their lengths count, since code may add to them
OF_EVERY_MODULE = frozenset(vars(nn.Module()))  # its tensors, hooks and mode


def traits_of(module: nn.Module) -> list[Any]:
    """The code and the attributes of a module and its parts, to be compared by `is_alike`."""
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
    """Whether nothing has changed; a change within an object that keeps its length is not seen."""
    return len(before) == len(after) and all(map(_is_same, before, after))


def _is_same(before: Any, after: Any) -> bool:
    return before is after or (type(before) is type(after) and isinstance(before, SIMPLE) and bool(before == after))

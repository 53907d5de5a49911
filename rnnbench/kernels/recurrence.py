"""Layers of an LSTM, a GRU and an RNN in rnnbench's own C: see `recurrence.h`.

All steps of a layer are one call in each direction of time, forward and backward, without Python, torch's dispatcher or
a copy between two steps. Weights are packed in each call, so nothing can be older than the weights.

Shapes: input (seq, batch, features), states (1, batch, hidden), weights and biases (gates * hidden, ...) as torch.nn's
layers have them.
"""

import ctypes
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnbench.kernels.direct import build, build_key, row_stride
from rnnbench.kernels.trusted import trusted_folder
from rnnbench.store.metrics import Unavailable

OPTIONS = ("-fopenmp",)
# From so many sequences on, the input's product is made step by step, beside the state's (0.83 to 1.0 of the time); for
# one, each step would read the input's weight anew for a single row (1.1 to 1.4 times).
MANY_ROWS = 2
MIN_SHARED = 60_000  # multiply-adds of a step; for fewer, threads wait for each other longer than they save
MAX_SCRATCH = 8 << 20  # values of memory that a thread keeps
PLAIN = (Tensor, torch.nn.Parameter)  # whose memory is what they say
LayerWeights = Sequence[Tensor | None]  # of input and state, and their biases
# The structures `layer` and `gradients` in C: pointers and numbers, 8 bytes each.
FORWARD = struct.Struct("24q")
BACKWARD = struct.Struct("21q")

_thread = threading.local()
_given: dict[str, "Functions"] = {}  # those that `use_library` has loaded, by the cell's name


@dataclass(frozen=True)
class CellCode:
    """A cell whose gates are written in C, in the file `source`. Numbers are as that file defines them."""

    name: str  # as torch's function of a layer
    source: Path
    states: int  # 2 for h and c
    gates: int
    sums: int
    saved: int  # of a unit and step, for backward

    @property
    def has_cell(self) -> bool:
        """Whether there is a second state c."""
        return self.states > 1


class Functions(NamedTuple):
    """The functions in C. The first two take a structure of pointers and numbers, 8 bytes each."""

    forward: Callable[[bytes], None]
    backward: Callable[[bytes], None]
    scratch: Callable[[int, int], int]  # values for a layer of this hidden size and so many rows of weights
    back_scratch: Callable[[int, int], int]  # for this hidden size and batch


class LayerTensors(NamedTuple):
    """What a layer reads; None for zeros."""

    input: Tensor
    h: Tensor | None
    c: Tensor | None
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None


class StepRecords(NamedTuple):
    """What backward needs of all steps."""

    outputs: Tensor
    saved: Tensor | None  # (seq, batch, saved values * hidden)
    cells: Tensor | None  # c of all steps (seq, batch, hidden)


def _cell(name: str, states: int, *, gates: int, sums: int, saved: int) -> CellCode:
    file = f"{name.partition('_')[0]}.c"
    return CellCode(name, Path(__file__).with_name(file), states, gates, sums, saved)


CELLS = {
    cell.name: cell
    for cell in (
        _cell("lstm", 2, gates=4, sums=4, saved=4),
        _cell("gru", 1, gates=3, sums=4, saved=4),
        _cell("rnn_tanh", 1, gates=1, sums=1, saved=0),
    )
}


def library_file(cell: CellCode) -> Path:
    """Return where the functions of a cell are, or will be once they are built."""
    key = build_key(cell.source, OPTIONS, torch.__version__)  # it is built with torch's OpenMP
    name = f"rnnbench-{cell.source.stem}-{key}.so"
    return trusted_folder(name) / name


@cache
def functions(cell: CellCode) -> Functions | str:
    """Return the functions of a cell, built into the user's cache unless they are there; or why they can't be had."""
    try:
        file = library_file(cell)
        if not file.exists():
            build(cell.source, OPTIONS, file)
        return functions_in(file)
    except (Unavailable, OSError) as fault:  # it can't be built, or not be loaded
        return str(fault)


def functions_in(library: Path) -> Functions:
    """Load a file that was built from a cell's source. Raises OSError if it can't, or lacks a function."""
    code = ctypes.CDLL(str(library))
    try:
        calls = [code.rnnbench_layer_forward, code.rnnbench_layer_backward]
        sizes = [code.rnnbench_layer_scratch, code.rnnbench_layer_back_scratch]
    except AttributeError as fault:
        raise OSError(str(fault)) from fault
    for call in calls:
        call.argtypes = [ctypes.c_char_p]
        call.restype = None
    for size in sizes:
        size.argtypes = [ctypes.c_long] * 2
        size.restype = ctypes.c_long
    return Functions(*calls, *sizes)


def can_read(tensor: Tensor) -> bool:
    """Return whether the C code can read a tensor: values in float32 on a processor, which are not rounded further."""
    return _is_plain(tensor) and not torch.is_autocast_enabled(tensor.device.type)


def _is_plain(tensor: Tensor) -> bool:
    # Values of a view of complex numbers may stand in memory with the other sign.
    return type(tensor) in PLAIN and tensor.dtype is torch.float32 and tensor.is_cpu and not tensor.is_neg()


def fits(cell: CellCode, input: Tensor, state: Sequence[Tensor] | None, weights: LayerWeights) -> bool:
    """Return whether the C code can read all tensors of a layer, and their shapes fit each other.

    `state`: (h,), or (h, c) of an LSTM; None for zeros.
    """
    weight_ih, weight_hh, *biases = weights
    if not (can_read(input) and weight_ih is not None and weight_hh is not None):
        return False
    if state is not None and len(state) != cell.states:
        return False
    (_, batch, features), hidden = input.shape, weight_hh.shape[-1]
    rows = cell.gates * hidden
    expected: list[tuple[Tensor, tuple[int, ...]]] = [(weight_ih, (rows, features)), (weight_hh, (rows, hidden))]
    expected += [(bias, (rows,)) for bias in biases if bias is not None]
    expected += [(part, (1, batch, hidden)) for part in state or ()]
    return all(tensor.shape == shape and _is_plain(tensor) for tensor, shape in expected)


def layer(
    cell: CellCode, input: Tensor, state: Sequence[Tensor] | None, weights: LayerWeights, *, is_reverse: bool = False
) -> tuple[Tensor, ...]:
    """Run one layer in one direction: returns outputs (seq, batch, hidden), and the last h and c, differentiably.

    All tensors must fit, as `fits` says; only an LSTM has c. Without a state, it is zero. A backward pass that
    is itself recorded runs torch's own operators. Raises Unavailable if rnnbench's own code can't run here.
    """
    states = [*(state or ()), None, None]
    weight_ih, weight_hh, *biases = weights
    assert weight_ih is not None
    assert weight_hh is not None
    tensors = LayerTensors(input, states[0], states[1], weight_ih, weight_hh, *biases)
    if torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in tensors):
        return _Layer.apply(cell, is_reverse, *tensors)  # type: ignore[no-any-return, no-untyped-call]
    return _forward(cell, tensors, is_reverse=is_reverse)[0]


def use_library(cell: CellCode, library: Path) -> None:
    """Load a cell's functions from a file that was built for a processor like this one. Raises OSError if it can't."""
    _given[cell.name] = functions_in(library)


def _loaded(cell: CellCode) -> Functions:
    code = _given.get(cell.name) or functions(cell)
    if isinstance(code, str):
        raise Unavailable(code)
    return code


def _pointers(tensors: Sequence[Tensor | None]) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return tensor if tensor is None else tensor.contiguous()


def _scratch(values: int) -> Tensor:
    """Return memory of this thread, which is used again: to get new memory takes as long as to pack weights into it."""
    scratch: Tensor | None = getattr(_thread, "scratch", None)
    if scratch is None or scratch.numel() < values:
        with torch.inference_mode(False):  # calls in all modes use it
            scratch = torch.empty(values, dtype=torch.float32)
        if values <= MAX_SCRATCH:
            _thread.scratch = scratch
    return scratch


def _threads(cell: CellCode, batch: int, hidden: int) -> int:
    return torch.get_num_threads() if cell.gates * batch * hidden * hidden >= MIN_SHARED else 1


def _forward(
    cell: CellCode, tensors: LayerTensors, *, is_reverse: bool, keeps: bool = False
) -> tuple[tuple[Tensor, ...], StepRecords]:
    """Return outputs and the last states, and records of all steps, which are empty unless the call `keeps` them."""
    code = _loaded(cell)
    input = tensors.input
    steps, batch, features = input.shape
    hidden = tensors.weight_hh.shape[1]
    states_and_weights = [_contiguous(each) for each in tensors[1:]]
    if input.stride(2) != 1:
        input = input.contiguous()
    projected = None
    if batch < MANY_ROWS:
        projected = torch.mm(input.reshape(steps * batch, features), tensors.weight_ih.t())
    outputs = input.new_empty(steps, batch, hidden)
    final = [input.new_empty(1, batch, hidden) for _ in range(cell.states)]
    records = StepRecords(
        outputs,
        input.new_empty(steps, batch, cell.saved * hidden) if keeps and cell.saved else None,
        input.new_empty(steps, batch, hidden) if keeps and cell.has_cell else None,
    )
    scratch = _scratch(code.scratch(hidden, hidden + (features if projected is None else 0)))
    structure = FORWARD.pack(
        outputs.data_ptr(),
        *outputs.stride()[:2],
        *_pointers((*states_and_weights[:2], final[0], final[1] if cell.has_cell else None, projected, input)),
        *input.stride()[:2],
        *_pointers((*states_and_weights[2:], records.saved, records.cells, scratch)),
        steps,
        batch,
        features,
        hidden,
        is_reverse,
        _threads(cell, batch, hidden),
    )
    code.forward(structure)
    return (outputs, *final), records


class _Layer(torch.autograd.Function):
    """The same with gradients: those of the sums in one call, and those of the weights in one product each."""

    @staticmethod
    def forward(ctx: Any, cell: CellCode, is_reverse: bool, *tensors: Any) -> Any:
        results, records = _forward(cell, LayerTensors(*tensors), is_reverse=is_reverse, keeps=True)
        ctx.cell = cell
        ctx.is_reverse = is_reverse
        ctx.save_for_backward(*tensors, *records)
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        saved = ctx.saved_tensors  # read once: a checkpoint computes them anew
        tensors = LayerTensors(*saved[: len(LayerTensors._fields)])
        records = StepRecords(*saved[len(LayerTensors._fields) :])
        needs = LayerTensors(*ctx.needs_input_grad[2:])
        if torch.is_grad_enabled():  # of a gradient, a gradient is wanted
            return (None, None, *_recorded_gradients(ctx.cell, tensors, grads, needs, is_reverse=ctx.is_reverse))
        hidden = records.outputs.shape[2]
        of_sums, of_states = _backward(ctx.cell, tensors, records, grads, ctx.is_reverse)
        gates = ctx.cell.gates * hidden
        # Where the products of a gate are not simply added, the sums of the input begin with the last gate.
        turn = hidden * (ctx.cell.sums - ctx.cell.gates)
        flat = of_sums.flatten(0, 1)
        of_input_sums = flat[:, :gates]
        rows = tensors.input.reshape(-1, tensors.input.shape[2])
        of_bias = flat.sum(0) if needs.bias_ih or needs.bias_hh else None
        of_weight_hh = None
        if needs.weight_hh:
            of_weight_hh = _of_state_weight(of_sums[..., turn:], records.outputs, tensors.h, ctx.is_reverse)
        return (
            None,
            None,
            torch.mm(of_input_sums, _turned(tensors.weight_ih, turn)).view_as(tensors.input) if needs.input else None,
            of_states[0] if needs.h else None,
            of_states[1] if needs.c else None,
            _turned(torch.mm(of_input_sums.t(), rows), -turn) if needs.weight_ih else None,
            of_weight_hh,
            _turned(of_bias[:gates], -turn) if of_bias is not None and needs.bias_ih else None,
            of_bias[turn:].clone() if of_bias is not None and needs.bias_hh else None,  # not in the other one's memory
        )


def _recorded_gradients(
    cell: CellCode, tensors: LayerTensors, grads: Sequence[Tensor | None], needs: LayerTensors, *, is_reverse: bool
) -> list[Tensor | None]:
    """Return the gradients that are needed, differentiably: by torch's own operators, whose backward is recorded."""
    # Views, so that a gradient of one does not pass through what another one was made from.
    parts = [None if tensor is None else tensor.view_as(tensor) for tensor in tensors]
    results = _by_torch(cell, LayerTensors(*parts), is_reverse=is_reverse)  # type: ignore[arg-type]
    pairs = [(result, grad) for result, grad in zip(results, grads, strict=True) if grad is not None]
    inputs = [part for part, need in zip(parts, needs, strict=True) if part is not None and need]
    if not pairs:
        return [None] * len(parts)
    of_inputs = iter(
        torch.autograd.grad(
            [result for result, _ in pairs],
            inputs,
            [grad for _, grad in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(of_inputs) if part is not None and need else None for part, need in zip(parts, needs, strict=True)]


def _by_torch(cell: CellCode, tensors: LayerTensors, *, is_reverse: bool) -> tuple[Tensor, ...]:
    """Return outputs and the last states as `layer` does, by operators of torch that have second derivatives."""
    input = tensors.input.flip(0) if is_reverse else tensors.input
    zeros = input.new_zeros(1, input.shape[1], tensors.weight_hh.shape[1])
    no_bias = input.new_zeros(len(tensors.weight_hh))
    h = zeros if tensors.h is None else tensors.h
    c = zeros if tensors.c is None else tensors.c
    biases = [no_bias if bias is None else bias for bias in (tensors.bias_ih, tensors.bias_hh)]
    weights = [tensors.weight_ih, tensors.weight_hh, *biases]
    run: Any = getattr(torch, cell.name)
    outputs, *final = run(input, (h, c) if cell.has_cell else h, weights, True, 1, 0.0, True, False, False)
    return (outputs.flip(0) if is_reverse else outputs, *final)


def _turned(rows: Tensor, shift: int) -> Tensor:
    """Return the rows moved down by a shift; those at the end come first."""
    return rows.roll(shift, 0) if shift else rows


def _backward(
    cell: CellCode,
    tensors: LayerTensors,
    records: StepRecords,
    grads: Sequence[Tensor | None],
    is_reverse: bool,
) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
    """Return the gradients of the sums (seq, batch, sums * hidden), and those of the first h and c.

    The first stand in memory that the next call uses again. Their rows are a line of the cache further apart than they
    need be: products read them faster. `grads`: of the results.
    """
    code = _loaded(cell)
    of_outputs = _contiguous(grads[0])
    of_states = [_contiguous(grad) for grad in (*grads[1:], None)[:2]]
    steps, batch, hidden = records.outputs.shape
    first = _contiguous(tensors.c if cell.has_cell else tensors.h)
    record = records.outputs if records.cells is None else records.cells
    weight = tensors.weight_hh.contiguous()
    row = row_stride(cell.sums * hidden, weight.dtype)
    size = steps * batch * row
    scratch = _scratch(size + code.back_scratch(hidden, batch))
    of_sums = scratch[:size].view(steps, batch, row)[:, :, : cell.sums * hidden]
    first_h = weight.new_empty(1, batch, hidden)
    first_c = weight.new_empty(1, batch, hidden) if cell.has_cell else None
    structure = BACKWARD.pack(
        *_pointers((of_outputs,)),
        *((0, 0) if of_outputs is None else of_outputs.stride()[:2]),
        *_pointers((*of_states, records.saved, record)),
        *record.stride()[:2],
        *_pointers((first, weight, of_sums)),
        row,
        *_pointers((first_h, first_c, scratch[size:])),
        steps,
        batch,
        hidden,
        is_reverse,
        _threads(cell, batch, hidden),
    )
    code.backward(structure)
    return of_sums, (first_h, first_c)


def _of_state_weight(of_sums: Tensor, outputs: Tensor, h: Tensor | None, is_reverse: bool) -> Tensor:
    """Return the gradient of the state's weight: each step's sums times the state before it."""
    if is_reverse:
        later = of_sums[:-1]
        before = outputs[1:]
    else:
        later = of_sums[1:]
        before = outputs[:-1]
    total = torch.mm(later.flatten(0, 1).t(), before.flatten(0, 1))  # zeros for a single step
    if h is not None:
        total.addmm_(of_sums[-1 if is_reverse else 0].t(), h[0])
    return total

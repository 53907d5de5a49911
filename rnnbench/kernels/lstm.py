"""A layer of an LSTM in rnnbench's own C: see `lstm.c`.

All steps of a layer are one call in each direction of time, forward and backward, without Python, torch's dispatcher or
a copy between two steps. LayerWeights are packed in each call, so nothing can be older than the weights.

Shapes: input (seq, batch, features), states (1, batch, hidden), weights and biases (4 * hidden, ...) as torch.nn.LSTM
has them.
"""

import ctypes
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnnbench.kernels.direct import build, build_key, row_stride
from rnnbench.kernels.trusted import trusted_folder
from rnnbench.store.metrics import Unavailable

SOURCE = Path(__file__).with_name("lstm.c")
OPTIONS = ("-fopenmp",)
# From so many sequences on, the input's product is made step by step, beside the state's (0.83 to 1.0 of the time); for
# one, each step would read the input's weight anew for a single row (1.1 to 1.4 times).
MANY_ROWS = 2
MIN_SHARED = 60_000  # multiply-adds of a step; for fewer, threads wait for each other longer than they save
MOST_KEPT = 8 << 20  # values of memory that a thread keeps
PLAIN = (Tensor, torch.nn.Parameter)  # whose memory is what they say
LayerWeights = Sequence[Tensor | None]  # of input and state, and their biases

_kept = threading.local()
_shipped: list[Path] = []  # the file that `use_library` has loaded, if it has
FORWARD = struct.Struct("24q")
BACKWARD = struct.Struct("21q")


@dataclass(frozen=True)
class Functions:
    """The functions in C. The first two take a structure of pointers and numbers, 8 bytes each."""

    forward: Callable[[bytes], None]
    backward: Callable[[bytes], None]
    scratch: Callable[[int, int], int]  # values for a layer of this hidden size and so many rows of weights
    back_scratch: Callable[[int, int], int]  # for this hidden size and batch


def library_file() -> Path:
    """Return where the functions are, or will be once they are built."""
    name = f"rnnbench-lstm-{build_key(SOURCE, OPTIONS, torch.__version__)}.so"  # it is built with torch's OpenMP
    return trusted_folder(name) / name


@cache
def functions(built: Path | None = None) -> Functions | str:
    """Return the functions, built into the user's cache unless they are there; or why they can't be had.

    `built`: a file to load them from, in place of the user's cache.
    """
    try:
        file = built or library_file()
        if not file.exists():
            build(SOURCE, OPTIONS, file)
        library = ctypes.CDLL(str(file))
        calls = [library.rnnbench_layer_forward, library.rnnbench_layer_backward]
        sizes = [library.rnnbench_layer_scratch, library.rnnbench_layer_back_scratch]
    except (Unavailable, OSError, AttributeError) as fault:  # it can't be built, or not be loaded
        return str(fault)
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


def fits(input: Tensor, state: Sequence[Tensor] | None, weights: LayerWeights) -> bool:
    """Return whether the C code can read all tensors of a layer, and their shapes fit each other."""
    weight_ih, weight_hh, *biases = weights
    if not (can_read(input) and weight_ih is not None and weight_hh is not None):
        return False
    (_, batch, features), hidden = input.shape, weight_hh.shape[-1]
    expected: list[tuple[Tensor, tuple[int, ...]]] = [
        (weight_ih, (4 * hidden, features)),
        (weight_hh, (4 * hidden, hidden)),
    ]
    expected += [(bias, (4 * hidden,)) for bias in biases if bias is not None]
    expected += [(part, (1, batch, hidden)) for part in state or ()]
    return all(tensor.shape == shape and _is_plain(tensor) for tensor, shape in expected)


def layer(
    input: Tensor, state: Sequence[Tensor] | None, weights: LayerWeights, *, is_reverse: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one layer in one direction: returns outputs (seq, batch, hidden), and the last h and c, differentiably.

    All tensors must fit, as `fits` says. Without a state, it is zero. There is no second derivative. Raises Unavailable
    if rnnbench's own code can't run here.
    """
    tensors: list[Any] = [input, *(state or (None, None)), *weights]
    if torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in tensors):
        return _Layer.apply(*tensors, is_reverse)  # type: ignore[no-any-return, no-untyped-call]
    return _forward(*tensors, is_reverse=is_reverse)[:3]


def use_library(built: Path) -> None:
    """Load the functions from a file that was built for a processor like this one. Raises OSError if that fails."""
    found = functions(built)
    if isinstance(found, str):
        raise OSError(found)
    _shipped[:] = [built]


def _loaded() -> Functions:
    found = functions(*_shipped)
    if isinstance(found, str):
        raise Unavailable(found)
    return found


def _pointers(tensors: Sequence[Tensor | None]) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def _scratch(values: int) -> Tensor:
    """Return memory of this thread, which is used again: to get new memory takes as long as to pack weights into it."""
    kept = getattr(_kept, "scratch", None)
    if kept is None or kept.numel() < values:
        with torch.inference_mode(False):  # calls in all modes use it
            kept = torch.empty(values, dtype=torch.float32)
        if values <= MOST_KEPT:
            _kept.scratch = kept
    return kept


def _threads(batch: int, hidden: int) -> int:
    return torch.get_num_threads() if 4 * batch * hidden * hidden >= MIN_SHARED else 1


def _forward(
    input: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    *,
    is_reverse: bool,
    keeps: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return outputs, the last h and c, and what backward needs if it `keeps` that: gates and cells of all steps."""
    own = _loaded()
    steps, batch, features = input.shape
    hidden = weight_hh.shape[1]
    read = [each if each is None else each.contiguous() for each in (h, c, weight_ih, weight_hh, bias_ih, bias_hh)]
    input = input if input.stride(2) == 1 else input.contiguous()
    projected = None
    if batch < MANY_ROWS:
        projected = torch.mm(input.reshape(steps * batch, features), weight_ih.t())
    outputs = input.new_empty(steps, batch, hidden)
    last_h = input.new_empty(1, batch, hidden)
    last_c = input.new_empty(1, batch, hidden)
    gates = input.new_empty(steps, batch, 4 * hidden) if keeps else None
    cells = torch.empty_like(outputs) if keeps else None
    scratch = _scratch(own.scratch(hidden, hidden + (features if projected is None else 0)))
    told = FORWARD.pack(
        outputs.data_ptr(),
        *outputs.stride()[:2],
        *_pointers((*read[:2], last_h, last_c, projected, input)),
        *input.stride()[:2],
        *_pointers((*read[2:], gates, cells, scratch)),
        steps,
        batch,
        features,
        hidden,
        is_reverse,
        _threads(batch, hidden),
    )
    own.forward(told)
    return outputs, last_h, last_c, gates, cells


class _Layer(torch.autograd.Function):
    """The same with gradients: those of the gates in one call, and those of the weights in one product each."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Any:
        *tensors, ctx.is_reverse = given
        outputs, h, c, gates, cells = _forward(*tensors, is_reverse=ctx.is_reverse, keeps=True)
        ctx.save_for_backward(*tensors[:5], outputs, gates, cells)
        ctx.has_biases = [bias is not None for bias in tensors[5:]]
        ctx.set_materialize_grads(False)
        return outputs, h, c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *of_results: Tensor | None) -> Any:
        input, h, c, weight_ih, weight_hh, outputs, gates, cells = ctx.saved_tensors
        needs = ctx.needs_input_grad
        of_gates, of_h, of_c = _backward(of_results, gates, cells, c, weight_hh, ctx.is_reverse)
        flat = of_gates.flatten(0, 1)
        rows = input.reshape(-1, input.shape[2])
        of_input = torch.mm(flat, weight_ih).view(input.shape) if needs[0] else None
        of_weight_ih = torch.mm(flat.t(), rows) if needs[3] else None
        of_weight_hh = _of_state_weight(of_gates, outputs, h, ctx.is_reverse) if needs[4] else None
        of_bias = flat.sum(0) if needs[5] or needs[6] else None
        biases = [of_bias if need else None for need in needs[5:7]]
        states = [gradient if need else None for gradient, need in zip((of_h, of_c), needs[1:3], strict=True)]
        return of_input, *states, of_weight_ih, of_weight_hh, *biases, None


def _backward(
    of_results: Sequence[Tensor | None],
    gates: Tensor,
    cells: Tensor,
    c: Tensor | None,
    weight: Tensor,
    is_reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the gates (seq, batch, 4 * hidden), and of the first h and c.

    The first stand in memory that the next call uses again. Their rows are a line of the cache further apart than they
    need be: products read them faster.
    """
    own = _loaded()
    of_outputs, of_h, of_c = (each if each is None else each.contiguous() for each in of_results)
    steps, batch, hidden = cells.shape
    c = c if c is None else c.contiguous()
    weight = weight.contiguous()
    row = row_stride(4 * hidden, cells.dtype)
    size = steps * batch * row
    scratch = _scratch(size + own.back_scratch(hidden, batch))
    of_gates = scratch[:size].view(steps, batch, row)[:, :, : 4 * hidden]
    first_h = cells.new_empty(1, batch, hidden)
    first_c = cells.new_empty(1, batch, hidden)
    told = BACKWARD.pack(
        *_pointers((of_outputs,)),
        *((0, 0) if of_outputs is None else of_outputs.stride()[:2]),
        *_pointers((of_h, of_c, gates, cells)),
        *cells.stride()[:2],
        *_pointers((c, weight, of_gates)),
        row,
        *_pointers((first_h, first_c, scratch[size:])),
        steps,
        batch,
        hidden,
        is_reverse,
        _threads(batch, hidden),
    )
    own.backward(told)
    return of_gates, first_h, first_c


def _of_state_weight(of_gates: Tensor, outputs: Tensor, h: Tensor | None, is_reverse: bool) -> Tensor:
    """Return the gradient of the state's weight: each step's gates times the state before it."""
    later, before = (of_gates[:-1], outputs[1:]) if is_reverse else (of_gates[1:], outputs[:-1])
    total = torch.mm(later.flatten(0, 1).t(), before.flatten(0, 1))  # zeros for a single step
    if h is not None:
        total.addmm_(of_gates[-1 if is_reverse else 0].t(), h[0])
    return total

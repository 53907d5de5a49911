"""The ways to run a cell over a sequence.

`run(cell, input, state, options) -> (outputs, state)` with `input`: (seq, batch, input), `outputs`:
(seq, batch, hidden) and states in the cell's form (see `rnnbench.cells.states`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.calls import can_hoist
from rnnbench.cells import is_own
from rnnbench.cells.states import State, output
from rnnbench.kernels import direct
from rnnbench.store.records import Case


class Skip(Exception):
    """The case makes no sense, for the given reason; it keeps its row in the results."""


@dataclass(frozen=True)
class SequenceOptions:
    """How a cell runs over a sequence."""

    stacked: bool = False  # the state is a tuple with one state for each layer
    reverse: bool = False  # from the last step to the first
    mask: Tensor | None = None  # (seq, batch, 1), true where a sequence has that step; None if all have all steps


MANY_ROWS, DIRECT_DTYPES = 16, tuple(direct.VALUES)

Run = Callable[[Any, Tensor, State, SequenceOptions], tuple[Tensor, State]]


def loop(cell: nn.Module, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
    """One call of the cell for each step."""
    return _steps(cell, input.unbind(0), state, options)


def hoisted(cell: Any, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
    """The input's products for all steps at once, before the loop, then one `advance` for each step."""
    return _steps(cell.advance, cell.project(input).unbind(0), state, options)


def scan(cell: Any, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
    """All steps at once, for a recurrence that is linear in its state: the cell's own `scan`."""
    outputs, final = cell.scan(input.flip(0) if options.reverse else input, state)
    return outputs.flip(0) if options.reverse else outputs, final


def eager(cell: nn.Module, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
    """`hoisted` if the cell supports it, else `loop`: the base of the faster implementations."""
    return (hoisted if can_hoist(cell) else loop)(cell, input, state, options)


def step_by_step(cell: nn.Module, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
    """`eager`, but not hoisted where rnnbench's own products make a step of `MANY_ROWS` sequences or more.

    They are as fast for such a step as for all steps at once, whose result is too large for the caches.
    """
    is_wide = input.shape[1] >= MANY_ROWS and input.dtype in DIRECT_DTYPES
    return (loop if is_wide else eager)(cell, input, state, options)


def _steps(
    step: Callable[[Any, State], State], inputs: Sequence[Tensor], state: State, options: SequenceOptions
) -> tuple[Tensor, State]:
    outputs = []
    times = range(len(inputs))
    for time in reversed(times) if options.reverse else times:
        new = step(inputs[time], state)
        if options.mask is None:
            state = new
            outputs.append(output(state, stacked=options.stacked))
        else:
            # A sequence without this step keeps its state and shows zeros, as a packed one does.
            state = _where(options.mask[time], new, state)
            outputs.append(output(state, stacked=options.stacked) * options.mask[time])
    if options.reverse:
        outputs.reverse()
    return torch.stack(outputs), state


def _where(mask: Tensor, new: State, old: State) -> State:
    if isinstance(new, Tensor):
        return torch.where(mask, new, old)
    return tuple(_where(mask, *parts) for parts in zip(new, old, strict=True))


def transpose_weights(
    module: nn.Module, distance: Callable[[int, torch.dtype], int] = lambda rows, dtype: rows
) -> None:
    """Store weights column by column, the order in which `input @ weight.T` reads them.

    Values and shapes stay. A product of few rows then needs no copy of the weight in that order, which BLAS otherwise
    makes in every step. Backward reads the weight in the other order and gains nothing. `distance`: that of two columns
    in values, for the number of rows.
    """
    for parameter in module.parameters():
        if parameter.dim() == 2:
            rows, columns = parameter.shape
            strides = (1, distance(rows, parameter.dtype))
            parameter.data = parameter.new_empty_strided((rows, columns), strides).copy_(parameter.data)


GRAPHED_ON = "cuda"  # the kind of device that can record graphs
PACKED_ON = "cpu"  # the device whose libraries take packed weights
NOT_PACKED = "weights are packed for the libraries of a CPU; use `compiled`"


def check_applies(case: Case) -> None:
    """Raise Skip if an implementation makes no sense for a workload, whatever the cell."""
    workload = case.workload
    match case.implementation:
        case "sequence" if not is_own(case.cell):
            raise Skip(
                "`sequence` needs a module that processes the whole sequence, but this cell computes a single step"
            )
        case "sequence" if workload.lengths == "varied":
            raise Skip(
                "sequences of unequal lengths are packed, and only torch.nn's own layers accept packed sequences"
            )
        case "sequence" if workload.dropout:
            raise Skip("dropout between layers is random, so the outputs of two implementations can't be compared")
        case "prepacked" if workload.device != PACKED_ON:
            raise Skip(NOT_PACKED)
        case "cudagraph" if workload.device.partition(":")[0] != GRAPHED_ON:
            raise Skip(f"CUDA graphs need a CUDA device, but the device is {workload.device}")
        case "cudagraph" if workload.phase == "epoch":
            raise Skip("a recorded graph accepts one batch size, but the last batch of an epoch may be smaller")
        case ("hoisted" | "scan") as verb if workload.is_streamed or workload.task == "one_to_many":
            why = "each call is one step" if workload.is_streamed else "each input is the previous output"
            raise Skip(f"nothing to {verb.removesuffix('ed')}: {why}")
        case "scan" if workload.lengths == "varied":
            raise Skip("all sequences of a batch are scanned together, so they must be equally long")
        case "torch.nn-flattened" if workload.dtype != "bfloat16" or workload.device == PACKED_ON:
            raise Skip("torch flattens these weights itself, or the device reads them as they are")
        case "torch.nn-padded" if workload.lengths == "equal":
            raise Skip("nothing to pad: all sequences are equally long")
        case "torch.nn-padded" if workload.task == "encoder_decoder":
            raise Skip("the encoder's final state would include padding and differ from that of a packed sequence")
        case "torch.nn-padded" if workload.bidirectional:
            raise Skip("the backward direction would start in the padding and differ from that of a packed sequence")

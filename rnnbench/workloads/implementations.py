"""The ways to run a cell over a sequence, and the cases in which they make no sense.

`run(cell, input, state, options) -> (outputs, state)` with `input`: (seq, batch, input), `outputs`:
(seq, batch, hidden) and states in the cell's form (see `rnnbench.cells.states`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import statically_known_true

from rnnbench.adapt.calls import can_hoist
from rnnbench.adapt.steps import can_step_directly, run_usual
from rnnbench.cells import is_own
from rnnbench.cells.states import State, output
from rnnbench.kernels import direct
from rnnbench.store.implementations import GRAPHED_GRADIENTS, ROW_OF, Implementation
from rnnbench.store.records import (
    LAYERS,
    Case,
    Workload,
)
from rnnbench.workloads.phases import is_capturable

MANY_BATCH_ROWS = 16
DIRECT_DTYPES = tuple(direct.VALUES)
FeedBack = Callable[[Any, nn.Module, Tensor, State, int], tuple[Tensor, State]]
GRAPHED_ON = "cuda"  # the kind of device that can record graphs
PACKED_ON = "cpu"  # the device whose libraries take packed weights
Rules = list[tuple[object, str]]  # what must not be true of a case, each with the reason


class Skip(Exception):
    """The case makes no sense, for the given reason; it keeps its row in the results."""


@dataclass(frozen=True)
class SequenceOptions:
    """How a cell runs over a sequence."""

    stacked: bool = False  # the state is a tuple with one state for each layer
    reverse: bool = False  # from the last step to the first
    mask: Tensor | None = None  # (seq, batch, 1), true where a sequence has that step; None if all have all steps


Run = Callable[[Any, Tensor, State, SequenceOptions], tuple[Tensor, State]]


def loop(cell: nn.Module, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
    """Call the cell once for each step."""
    if options.mask is None and can_step_directly(cell):
        inputs = input.unbind(0)
        outputs, final = run_usual(cell, inputs[::-1] if options.reverse else inputs, state)
        return torch.stack(outputs[::-1] if options.reverse else outputs), final
    return _steps(cell, input.unbind(0), state, options)


def hoisted(cell: Any, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
    """Compute the input's products for all steps at once, then one `advance` for each step."""
    return _steps(cell.advance, cell.project(input).unbind(0), state, options)


def scan(cell: Any, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
    """Run all steps at once, for a recurrence that is linear in its state: the cell's own `scan`."""
    outputs, final = cell.scan(input.flip(0) if options.reverse else input, state)
    return outputs.flip(0) if options.reverse else outputs, final


def eager(cell: nn.Module, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
    """Run the cell `hoisted` if it supports that, else in a `loop`: the base of the faster implementations."""
    return (hoisted if can_hoist(cell) else loop)(cell, input, state, options)


def step_by_step(cell: nn.Module, input: Tensor, state: State, options: SequenceOptions) -> tuple[Tensor, State]:
    """`eager`, but not hoisted where rnnbench's own products make a step of `MANY_BATCH_ROWS` sequences or more.

    They are as fast for such a step as for all steps at once, whose result is too large for the caches. Code for any
    batch size is hoisted: to ask for its size would make code for a part of the sizes.
    """
    is_wide = statically_known_true(input.shape[1] >= MANY_BATCH_ROWS) and input.dtype in DIRECT_DTYPES
    return (loop if is_wide else eager)(cell, input, state, options)


def _steps(
    step: Callable[[Any, State], State], inputs: Sequence[Tensor], state: State, options: SequenceOptions
) -> tuple[Tensor, State]:
    if options.mask is not None:
        return _masked_steps(step, inputs, state, options, options.mask)
    outputs = []
    if isinstance(state, Tensor):
        for input in reversed(inputs) if options.reverse else inputs:
            state = step(input, state)
            outputs.append(state)
    else:
        layer = -1 if options.stacked else 0
        for input in reversed(inputs) if options.reverse else inputs:
            state = step(input, state)
            outputs.append(state[layer])
        if not isinstance(outputs[0], Tensor):
            outputs = [each[0] for each in outputs]
    if options.reverse:
        outputs.reverse()
    return torch.stack(outputs), state


def _masked_steps(
    step: Callable[[Any, State], State], inputs: Sequence[Tensor], state: State, options: SequenceOptions, mask: Tensor
) -> tuple[Tensor, State]:
    """Run a batch in which a sequence without a step keeps its state and shows zeros, as a packed one does."""
    outputs = []
    times = range(len(inputs))
    for time in reversed(times) if options.reverse else times:
        new = step(inputs[time], state)
        state = _where(mask[time], new, state)
        outputs.append(output(state, stacked=options.stacked) * mask[time])
    if options.reverse:
        outputs.reverse()
    return torch.stack(outputs), state


def _where(mask: Tensor, new: State, old: State) -> State:
    if isinstance(new, Tensor):
        return torch.where(mask, new, old)
    return tuple(_where(mask, *parts) for parts in zip(new, old, strict=True))


def feed_back(body: Any, head: nn.Module, fed: Tensor, state: State, steps: int) -> tuple[Tensor, State]:
    """Return `steps` outputs, each fed to the next step: (batch, input) -> (steps, batch, output), final state."""
    outputs = []
    for _ in range(steps):
        hidden, state = body.step(fed, state)
        fed = head(hidden)
        outputs.append(fed)
    return torch.stack(outputs), state


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


def check_makes_sense(case: Case) -> None:
    """Raise Skip if the axes of a workload do not fit its task, or its implementation makes no sense for it."""
    for is_broken, reason in (*_rules_of_task(case.workload), *(() if case.is_reference else _rules_of_way(case))):
        if is_broken:
            raise Skip(reason)


def _rules_of_task(work: Workload) -> list[tuple[object, str]]:
    """List conditions that a workload must not meet, each with the reason."""
    task = work.task
    is_stream = work.task == "streaming"
    feeds_back = task in ("one_to_many", "encoder_decoder")
    is_varied = work.lengths == "varied"
    is_epoch = work.phase == "epoch"
    reads_other = work.input != "features"
    return [
        (task == "one_to_one" and work.seq_len != 1, f"one_to_one is a single step, but seq_len is {work.seq_len}"),
        (
            task == "one_to_many" and work.input_size != work.output_size,
            f"one_to_many feeds outputs back as inputs, but output_size {work.output_size} differs from input_size "
            f"{work.input_size}",
        ),
        (
            work.output_len and task != "encoder_decoder",
            f"output_len needs the task encoder_decoder, but the task is {task}",
        ),
        (feeds_back and work.bidirectional, f"{task} feeds outputs back, so it can't run in two directions"),
        (task == "one_to_many" and is_varied, "one_to_many reads one step, so there are no lengths to vary"),
        (
            is_epoch and (task != "many_to_many" or is_varied),
            "the phase `epoch` needs a target for each step and sequences of equal length",
        ),
        (reads_other and work.reference in LAYERS, f"{work.layer} reads features, but the input is {work.input}"),
        (
            reads_other and (feeds_back or is_epoch),
            f"{task if feeds_back else 'an epoch'} gives features as inputs, but the input is {work.input}",
        ),
        (
            is_capturable(work) and work.phase == "step" and work.device.partition(":")[0] != GRAPHED_ON,
            f"{work.optimizer} is for devices that can record graphs, but the device is {work.device}",
        ),
        (work.dropout and work.num_layers == 1, "dropout applies between layers, but num_layers is 1"),
        (is_stream and work.seq_len != 1, f"streaming takes one step a call, but seq_len is {work.seq_len}"),
        (
            is_stream and work.phase != "inference",
            f"streaming carries a state without gradients, but the phase is {work.phase}",
        ),
        (
            is_stream and work.bidirectional,
            "streaming can't run in two directions: the future is not known yet",
        ),
    ]


def _rules_of_way(case: Case) -> Rules:
    """List conditions that a case must not meet in its implementation, each with the reason."""
    return RUNNERS[case.implementation].rules(case) if case.implementation in RUNNERS else []


def _in_one_go(case: Case) -> Rules:
    """Return the rules of what computes something for all steps at once."""
    verb = case.implementation.removesuffix("ed")
    task = case.workload.task
    return [
        (task == "streaming", f"nothing to {verb}: each call is one step"),
        (task == "one_to_many", f"nothing to {verb}: each input is the previous output"),
    ]


def _of_scan(case: Case) -> Rules:
    is_varied = case.workload.lengths == "varied"
    return [
        *_in_one_go(case),
        (is_varied, "all sequences of a batch are scanned together, so they must be equally long"),
    ]


def _of_sequence(case: Case) -> Rules:
    return [
        (
            not is_own(case.cell),
            "`sequence` needs a module that processes the whole sequence, but this cell computes a single step",
        ),
        (
            case.workload.lengths == "varied",
            "sequences of unequal lengths are packed, and only torch.nn's own layers accept packed sequences",
        ),
        (
            case.workload.dropout,
            "dropout between layers is random, so the outputs of two implementations can't be compared",
        ),
    ]


def _of_prepacked(case: Case) -> Rules:
    return [(case.workload.device != PACKED_ON, "weights are packed for the libraries of a CPU; use `compiled`")]


def _of_cudagraph(case: Case) -> Rules:
    work = case.workload
    row = ROW_OF[case.implementation]
    return [
        (
            work.device.partition(":")[0] != GRAPHED_ON,
            f"CUDA graphs need a CUDA device, but the device is {work.device}",
        ),
        (
            work.phase == "epoch",
            "a recorded graph accepts one batch size, but the last batch of an epoch may be smaller",
        ),
        (
            work.dropout and work.phase != "inference",
            "a recorded graph keeps its dropout, which must be off while outputs are compared",
        ),
        (row.mode and work.phase != "inference", GRAPHED_GRADIENTS),
        (
            row.is_whole and work.lengths == "varied",
            "packing reads lengths on the host, which a recorded graph can't",
        ),
    ]


def _of_flattened(case: Case) -> Rules:
    work = case.workload
    return [
        (
            work.dtype != "bfloat16" or work.device == PACKED_ON,
            "torch flattens these weights itself, or the device reads them as they are",
        )
    ]


def _of_padded(case: Case) -> Rules:
    work = case.workload
    return [
        (work.lengths != "varied", "nothing to pad: all sequences are equally long"),
        (
            work.task == "encoder_decoder",
            "the encoder's final state would include padding and differ from that of a packed sequence",
        ),
        (
            work.bidirectional,
            "the backward direction would start in the padding and differ from that of a packed sequence",
        ),
    ]


def _no_rules(case: Case) -> Rules:
    return []


def _nothing(cell: Any) -> str:
    return ""


def _no_products(cell: Any) -> str:
    if can_hoist(cell):
        return ""
    return "nothing to hoist: the cell has no `project` and `advance`, or hooks that need a call"


def _no_scan(cell: Any) -> str:
    if hasattr(cell, "scan"):
        return ""
    return "nothing to scan: the cell has no `scan`, which needs a recurrence that is linear in its state"


def _as_they_are(body: nn.Module, work: Workload) -> None:
    """Leave the weights in torch's order."""


def _by_column(body: nn.Module, work: Workload) -> None:
    transpose_weights(body)


def _by_column_on_a_cpu(body: nn.Module, work: Workload) -> None:
    """Store weights by column where backward, which reads them in both orders, does not follow."""
    if work.phase == "inference" and work.device == PACKED_ON:
        transpose_weights(body)


def _apart_by_column(body: nn.Module, work: Workload) -> None:
    if work.phase == "inference":
        transpose_weights(body, direct.row_stride)


def flatten_weights(module: nn.Module) -> None:
    """Store the weights of each layer of torch.nn in one block, as cuDNN reads them.

    torch does so itself, but not in bfloat16, although its layers use cuDNN in that type since 2.10.
    """
    types: set[torch.dtype] = torch.backends.cudnn.CUDNN_TENSOR_DTYPES
    lacking = {torch.bfloat16} - types
    types |= lacking
    try:
        for layer in module.modules():
            if isinstance(layer, nn.RNNBase):
                layer.flatten_parameters()
    finally:
        types -= lacking


def _in_one_block(body: nn.Module, work: Workload) -> None:
    flatten_weights(body)


@dataclass(frozen=True)
class RunnerRow:
    """How an implementation runs a cell over a sequence, and where it makes no sense."""

    run: Run | None = None  # None: a module runs the whole sequence itself
    rules: Callable[[Case], Rules] = _no_rules
    lacks: Callable[[Any], str] = _nothing  # why it can't run a cell, because of what that lacks; empty if it can
    lay_out: Callable[[nn.Module, Workload], None] = _as_they_are  # stores the weights of a body in its order


# A row for each implementation that runs a model, beside that of `rnnbench/store/implementations.py`.
RUNNERS: dict[Implementation, RunnerRow] = {
    "loop": RunnerRow(loop),
    "reference": RunnerRow(loop),
    "torch.nn-cell": RunnerRow(loop),
    "hoisted": RunnerRow(hoisted, _in_one_go, _no_products),
    "scan": RunnerRow(scan, _of_scan, _no_scan),
    "transposed": RunnerRow(eager, lay_out=_by_column),
    "compiled": RunnerRow(eager, lay_out=_by_column_on_a_cpu),
    "prepacked": RunnerRow(step_by_step, _of_prepacked, lay_out=_apart_by_column),
    "cudagraph": RunnerRow(eager, _of_cudagraph),
    "reduce-overhead": RunnerRow(eager, _of_cudagraph),
    "sequence": RunnerRow(None, _of_sequence),
    "torch.nn": RunnerRow(),
    "torch.nn-padded": RunnerRow(None, _of_padded),
    "torch.nn-flattened": RunnerRow(None, _of_flattened, lay_out=_in_one_block),
    "torch.nn-cudagraph": RunnerRow(None, _of_cudagraph),
}

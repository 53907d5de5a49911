"""Prepare a case: weights from the reference, equal inputs, and the call to be timed."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from rnnbench.cells import is_own, load, spec
from rnnbench.cells.states import State, convert, torch_dtype
from rnnbench.cells.weights import state_count
from rnnbench.kernels.direct import row_stride
from rnnbench.store.records import (
    GATES,
    ITEM_BYTES,
    LAYERS,
    LOADS,
    Case,
    Implementation,
    Workload,
    is_cell_reference,
    reference_cell,
)
from rnnbench.workloads import graphed
from rnnbench.workloads.data import epoch
from rnnbench.workloads.implementations import PACKED_ON, check_makes_sense, transpose_weights
from rnnbench.workloads.make_model import SEED, adapt_model, make_model, take_weights
from rnnbench.workloads.model import Cells, SequenceModel
from rnnbench.workloads.phases import (
    MODES,
    Loss,
    MakeOptimizer,
    StepStream,
    TimedCall,
    fixed,
    in_turn,
    optimizer_and_loss,
    timed_call,
)


@dataclass(frozen=True)
class Built:
    """A model and its inputs, from which a phase makes the timed call."""

    case: Case
    model: SequenceModel
    reference: SequenceModel  # the model itself if the case is the reference, or has none
    input: Tensor  # (steps, batch, input)
    layer_state: State  # in torch.nn's form
    unequal: str = ""  # why outputs are not compared with the reference's; empty if they are
    make_optimizer: MakeOptimizer = torch.optim.Adam  # of the phase `step`
    loss: Loss | None = None
    recorded: list[graphed.Replayed] = field(default_factory=list, repr=False, compare=False)  # empty, or one

    @property
    def state(self) -> State:
        """The initial state in the form that the model takes."""
        return self.state_of(self.case.workload.batch_size)

    def state_of(self, sequences: int) -> State:
        """The initial state for the first `sequences` of the batch, in the same form."""
        layer_state = tree_map(lambda part: part[:, :sequences].contiguous(), self.layer_state)  # as cuDNN requires
        return self.model.own_state(layer_state)

    @property
    def is_of_cells(self) -> bool:
        """Whether the model is made of cells, whose states have a form of their own."""
        return isinstance(self.model.body, Cells)

    def runner(self) -> nn.Module:
        """The module to call: the model itself, or its recording, made at the first call."""
        if self.case.implementation != "cudagraph":
            return self.model
        if not self.recorded:
            with MODES[self.case.workload.phase]():
                self.recorded.append(graphed.Replayed(self.model, self.input, self.state))
        return self.recorded[0]

    def timed_call(self) -> TimedCall:
        """The call of this case's phase."""
        workload = self.case.workload
        if workload.phase == "epoch":
            return epoch(self.model, self.state_of, workload)
        runner = self.runner()
        pool = runner.pool if isinstance(runner, graphed.Replayed) else None
        inputs = in_turn(self.input) if pool is None else fixed(self.input)
        if workload.is_streamed:  # a step whose output is in the host's memory when the call returns
            stream = StepStream(runner, inputs.tensors, self.state)
            timed = TimedCall(lambda: stream.step().cpu(), MODES["inference"], restart=stream.restart)
        else:
            timed = timed_call(workload, runner, inputs.tensors, self.state, self.make_optimizer, self.loss)
        return replace(timed, inputs=inputs, pool=pool)


def reference_case(case: Case) -> Case:
    """Return the case of the reference in a case's group, which has one."""
    reference = case.workload.reference
    implementation: Implementation = "reference" if is_cell_reference(reference) else "torch.nn"
    return Case(reference_cell(reference), implementation, case.workload)


def build(case: Case, root: Path, compiled_steps: int = 32) -> Built:
    """Build a case's model and inputs; equal workloads get equal weights and inputs.

    `compiled_steps`: how many steps `torch.compile` gets in one piece. Raises Skip if the case makes no sense,
    CellError if a user's own class does not fit, and whatever that class raises.
    """
    check_makes_sense(case)
    torch.manual_seed(SEED)
    if case.workload.reference == "none":
        return _built(case, root, compiled_steps, None)
    reference = _built(reference_case(case), root, compiled_steps, None)
    return reference if case.is_reference else _built(case, root, compiled_steps, reference)


def _built(case: Case, root: Path, compiled_steps: int, reference: Built | None) -> Built:
    """Build one side of a comparison; what a `reference` is compared with gets its weights, inputs and state."""
    workload = case.workload
    cell_spec = spec(case.cell, "none" if case.implementation == "reference" else workload.reference)
    factory = load(cell_spec.target, root)
    make_optimizer, loss = optimizer_and_loss(workload, root)
    states = state_count(factory, cell_spec.reference)
    model = make_model(case, cell_spec, factory, states, compiled_steps)
    # Before weights are mapped, so that sums of weights are rounded once, in the dtype that is compared.
    convert(model, workload.device, torch_dtype(workload.dtype))
    input, state = _inputs(workload, states) if reference is None else (reference.input, reference.layer_state)
    compared, unequal = model if reference is None else reference.model, ""
    is_other = bool(cell_spec.unequal) and not cell_spec.stacked  # its state and weights are none of torch.nn's
    if is_other or is_own(case.cell) or is_cell_reference(workload.reference):
        state, unequal = adapt_model(model, input, state, workload, compared)
    if case.is_reference:
        unequal = ""
    elif reference is None:
        unequal = "not compared: there is no reference"
    else:
        unequal = unequal or take_weights(workload, cell_spec, model, compared)
        if is_other and workload.reference in LAYERS:
            unequal = cell_spec.unequal
    if case.implementation == "torch.nn-flattened":
        flatten_weights(model)
    is_inference = workload.phase == "inference"
    turns = case.implementation == "compiled" and is_inference and workload.device == PACKED_ON
    for body in model.bodies:  # backward reads weights in both orders
        if case.implementation == "transposed" or turns:
            transpose_weights(body)
        elif case.implementation == "prepacked" and is_inference:
            transpose_weights(body, row_stride)
    return Built(case, model, compared, input, state, unequal, make_optimizer, loss)


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


def copied_weights(module: nn.Module) -> bool:
    """Whether a layer of torch.nn on a GPU copies its weights in each call, since they are not in one block."""
    return any(
        len({weight.untyped_storage().data_ptr() for weight in layer.parameters()}) > 1
        for layer in module.modules()
        if isinstance(layer, nn.RNNBase) and next(layer.parameters()).is_cuda
    )


def _inputs(workload: Workload, states: int) -> tuple[Tensor, State]:
    """Normal draws, since zeros can be faster to compute with and hide errors. `states`: tensors of a state."""
    generator = torch.Generator().manual_seed(SEED)

    def draw(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=generator)
        return values.to(device=workload.device, dtype=torch_dtype(workload.dtype))

    steps = (workload.input_steps, workload.batch_size)
    if workload.reads_tokens:
        input = torch.randint(workload.input_shape[0], steps, generator=generator).to(workload.device)
    else:
        input = draw(*steps, *workload.input_shape)
    h = draw(workload.num_layers * workload.directions, workload.batch_size, workload.hidden_size)
    return input, h if states == 1 else (h, *(torch.randn_like(h) for _ in range(states - 1)))


def least_bytes(workload: Workload) -> int:
    """Return how much memory a case needs at least, by its sizes: a case larger than the machine is not tried.

    The bytes are those of inputs, states, weights and outputs of one model; two models, gradients and the rest come on
    top.
    """
    width = workload.directions * workload.hidden_size
    steps = workload.input_steps * workload.input_size + workload.output_steps * workload.output_size
    numbers = workload.batch_size * steps
    if workload.phase in LOADS:
        numbers += workload.samples * (workload.input_size + workload.seq_len * workload.output_size)
    if workload.phase != "loading":
        read = workload.input_size + width * (workload.num_layers - 1) + workload.num_layers * workload.hidden_size
        numbers += width * (GATES.get(workload.reference, 0) * read + workload.output_size)
        numbers += workload.batch_size * width * (workload.num_layers + workload.input_steps)
    return numbers * ITEM_BYTES[workload.dtype]

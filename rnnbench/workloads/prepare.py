"""Prepare a case: weights from the reference, equal inputs, and the call to be timed."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from rnnbench.cells import CellSpec, is_own, load, spec
from rnnbench.cells.states import State, convert, first, to_cell
from rnnbench.kernels.direct import row_stride
from rnnbench.store.records import Case, DType, Workload, is_cell_reference
from rnnbench.workloads import graphed
from rnnbench.workloads.adapted import adapted
from rnnbench.workloads.data import epoch
from rnnbench.workloads.implementations import (
    PACKED_ON,
    check_applies,
    transpose_weights,
)
from rnnbench.workloads.make_model import SEED, own_model, reference_model
from rnnbench.workloads.model import Body, Cells, SequenceModel
from rnnbench.workloads.phases import (
    ADAM,
    MODES,
    TimedCall,
    TrainingStep,
    fixed,
    in_turn,
    of_workload,
    streaming_call,
    timed_call,
)
from rnnbench.workloads.tasks import check_makes_sense
from rnnbench.workloads.weights import model_weights, take, take_same

COMPILED_STEPS = 32


@dataclass(frozen=True)
class Built:
    """A model and its inputs, from which a phase makes the timed call."""

    case: Case
    spec: CellSpec | None  # None for a torch.nn layer
    model: SequenceModel
    reference: SequenceModel  # the model itself if the case is the reference, or has none
    input: Tensor  # (steps, batch, input)
    layer_state: State  # in torch.nn's form
    unequal: str = ""  # why outputs are not compared with the reference's; empty if they are
    training_step: TrainingStep = ADAM  # of the phase `step`
    recordings: graphed.Recordings = field(default_factory=graphed.Recordings, repr=False, compare=False)

    @property
    def state(self) -> State:
        """The initial state in the form that the model takes."""
        return self.state_of(self.case.workload.batch_size)

    def state_of(self, sequences: int) -> State:
        """The initial state for the first `sequences` of the batch, in the same form."""
        layer_state = first(self.layer_state, sequences)
        return to_cell(layer_state, stacked=self.model.is_stacked) if self.is_of_cells else layer_state

    @property
    def is_of_cells(self) -> bool:
        """Whether the model is made of cells, whose states have a form of their own."""
        return isinstance(self.model.body, Cells)

    def runner(self) -> nn.Module:
        """The module to call: the model itself, or its recording, made at the first call."""
        if self.case.implementation != "cudagraph":
            return self.model
        with MODES[self.case.workload.phase]():
            return self.recordings.of(self.model, self.input, self.state)

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(steps, batch, output)."""
        workload = self.case.workload
        return workload.output_steps, workload.batch_size, workload.output_size

    def timed_call(self) -> TimedCall:
        """The call of this case's phase."""
        workload = self.case.workload
        if workload.phase == "epoch":
            return epoch(self.model, self.state_of, workload, self.input.dtype)
        runner = self.runner()
        pool = runner.pool if isinstance(runner, graphed.Replayed) else None
        inputs = in_turn(self.input) if pool is None else fixed(self.input)
        if workload.is_streamed:
            return replace(streaming_call(runner, inputs, self.state), pool=pool)
        timed = timed_call(workload.phase, runner, inputs.tensors, self.state, self.output_shape, self.training_step)
        return replace(timed, inputs=inputs, pool=pool)


def build(case: Case, root: Path, compiled_steps: int = COMPILED_STEPS) -> Built:
    """Build a case's model and inputs; equal workloads get equal weights and inputs.

    `compiled_steps`: how many steps `torch.compile` gets in one piece. Raises Skip if the case makes no sense,
    CellError if a user's own class does not fit, and whatever that class raises.
    """
    workload = case.workload
    check_makes_sense(workload)
    if not case.is_reference:
        check_applies(case)
    is_torchs = case.implementation in ("torch.nn", "torch.nn-padded", "torch.nn-flattened")
    cell_spec = None if is_torchs else spec(case.cell, workload.reference)
    factory = None if cell_spec is None else load(cell_spec.target, root)
    training_step = of_workload(workload, root) if workload.phase == "step" else ADAM
    torch.manual_seed(SEED)
    # Converted before weights are mapped, so that sums of weights are rounded once, in the dtype that is compared.
    reference, states = reference_model(workload, root, factory)
    input, layer_state = _inputs(workload, states)
    if reference is not None:
        convert(reference, workload.device, torch_dtype(workload.dtype))
        if is_cell_reference(workload.reference):
            layer_state, _ = adapted(reference, input, layer_state, workload)
        if case.is_reference:
            return Built(case, cell_spec, reference, reference, input, layer_state, training_step=training_step)
    model = own_model(case, cell_spec, factory, compiled_steps)
    convert(model, workload.device, torch_dtype(workload.dtype))
    layer_state, unequal = _made_comparable(case, cell_spec, model, reference, input, layer_state)
    if case.implementation == "torch.nn-flattened":
        flatten_weights(model)
    for body in model.bodies:
        _store_weights(case, body)
    compared = model if reference is None else reference
    return Built(case, cell_spec, model, compared, input, layer_state, unequal, training_step)


def _made_comparable(
    case: Case,
    cell_spec: CellSpec | None,
    model: SequenceModel,
    reference: SequenceModel | None,
    input: Tensor,
    usual: State,
) -> tuple[State, str]:
    """Adapt a model's calls and give it its reference's weights.

    `usual`: the reference's state in torch.nn's form. Returns the model's state in that form, and why its outputs can't
    be compared; empty if they can.
    """
    workload = case.workload
    is_to_cell, is_other = is_cell_reference(workload.reference), is_other_recurrence(cell_spec)
    state, unequal = usual, ""
    if is_to_cell or is_other or is_own(case.cell):
        state, unequal = adapted(model, input, usual, workload, reference)
    unequal = unequal or _take_weights(case, cell_spec, model, reference)
    if is_other and unequal and reference is not None and cell_spec is not None and not is_to_cell:
        unequal = cell_spec.unequal
    return state, unequal


def _store_weights(case: Case, body: Body) -> None:
    """Store a body's weights in the order that suits the implementation; backward reads them in both orders."""
    workload = case.workload
    is_on_cpu = workload.device == PACKED_ON
    if case.implementation == "transposed" or (
        case.implementation == "compiled" and workload.phase == "inference" and is_on_cpu
    ):
        transpose_weights(body)
    elif case.implementation == "prepacked" and workload.phase == "inference":
        transpose_weights(body, row_stride)


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


def is_other_recurrence(cell_spec: CellSpec | None) -> bool:
    """Whether a cell of rnnbench's own has a state and weights that no layer of torch.nn has."""
    return cell_spec is not None and bool(cell_spec.unequal) and not cell_spec.stacked


def _take_weights(case: Case, cell_spec: CellSpec | None, model: SequenceModel, reference: SequenceModel | None) -> str:
    """Give a model its reference's weights; returns why its outputs can't be compared, empty if they can."""
    if reference is None:
        return "not compared: there is no reference"
    if is_cell_reference(case.workload.reference):
        return take_same(model, reference, case.workload.reference)
    if is_own(case.cell) or is_other_recurrence(cell_spec):
        return take(model, reference, case.workload.reference)
    model.load_state_dict(model_weights(model, dict(reference.named_parameters())))
    return "" if cell_spec is None else cell_spec.unequal


def torch_dtype(dtype: DType) -> torch.dtype:
    """The type of a case's tensors: float32 for tf32, which is a way to multiply float32."""
    tensor_type: torch.dtype = getattr(torch, "float32" if dtype == "tf32" else dtype)
    return tensor_type


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

"""Prepare a case: weights from the reference, equal inputs, and the call to be timed."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells import CellSpec, is_own, load, spec
from rnnbench.cells.foreign.building import construct
from rnnbench.cells.foreign.layers import runs_whole
from rnnbench.cells.own import state_count
from rnnbench.cells.states import State, first, to_cell
from rnnbench.store.metrics import COMPILED
from rnnbench.store.records import Case, DType, Implementation, Reference, Workload, is_cell_reference
from rnnbench.workloads import graphed
from rnnbench.workloads.bodies import Body, Cells, TorchLayer, step_mask
from rnnbench.workloads.compiled import CompiledFeedBack, CompiledRun
from rnnbench.workloads.epoch import epoch
from rnnbench.workloads.implementations import (
    Run,
    Skip,
    can_hoist,
    check_applies,
    eager,
    hoisted,
    loop,
    scan,
    transpose_weights,
)
from rnnbench.workloads.inputs import fixed, in_turn
from rnnbench.workloads.model import SequenceModel
from rnnbench.workloads.own_state import adapted
from rnnbench.workloads.phases import ADAM, MODES, TimedCall, timed_call
from rnnbench.workloads.products.choice import Matrix, is_read_by_column
from rnnbench.workloads.tasks import check_makes_sense
from rnnbench.workloads.training_step import TrainingStep, of_workload
from rnnbench.workloads.weights import model_weights, take, take_same

Factory = Callable[..., nn.Module]
NOTHING: Mapping[str, Any] = MappingProxyType({})
SEED = 0
COMPILED_STEPS = 32

RUNS: dict[Implementation, Run] = {
    "loop": loop,
    "reference": loop,
    "torch.nn-cell": loop,
    "hoisted": hoisted,
    "scan": scan,
    "transposed": eager,
    "cudagraph": eager,
}


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
    is_torchs = case.implementation in ("torch.nn", "torch.nn-padded")
    cell_spec = None if is_torchs else spec(case.cell, workload.reference)
    factory = None if cell_spec is None else load(cell_spec.target, root)
    training_step = of_workload(workload, root) if workload.phase == "step" else ADAM
    torch.manual_seed(SEED)
    # Converted before weights are mapped, so that sums of weights are rounded once, in the dtype that is compared.
    placement: dict[str, Any] = {"device": workload.device, "dtype": torch_dtype(workload.dtype)}
    reference, states = _reference(workload, root, factory)
    input, layer_state = _inputs(workload, states)
    if reference is not None:
        reference.to(**placement)
        if is_cell_reference(workload.reference):
            layer_state, _ = adapted(reference, input, layer_state, workload)
        if case.is_reference:
            return Built(case, cell_spec, reference, reference, input, layer_state, training_step=training_step)
    if cell_spec is None or factory is None:
        model = _model(workload, partial(_layer, workload, _lengths(workload), is_padded=True))
    elif case.implementation == "sequence":
        model = _model(workload, partial(_whole, workload, cell_spec, factory))
    else:
        model = _model(workload, partial(_cells, case, cell_spec, factory, compiled_steps))
    if case.implementation in COMPILED:
        model.feed_back = CompiledFeedBack(compiled_steps, case.implementation)
    model.to(**placement)
    layer_state, unequal = _made_comparable(case, cell_spec, model, reference, input, layer_state)
    for body in model.bodies:
        _store_weights(case, body, compiled_steps)
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
        state, unequal = adapted(model, input, usual, workload)
    unequal = unequal or _take_weights(case, cell_spec, model, reference)
    if is_other and unequal and reference is not None and cell_spec is not None and not is_to_cell:
        unequal = cell_spec.unequal
    return state, unequal


def _store_weights(case: Case, body: Body, compiled_steps: int) -> None:
    """Store a body's weights in the order that suits the implementation; backward reads them in both orders."""
    workload = case.workload
    if case.implementation == "transposed" or (case.implementation == "compiled" and workload.phase == "inference"):
        transpose_weights(body)
    elif case.implementation == "prepacked" and workload.phase == "inference":
        steps = min(workload.seq_len, compiled_steps)

        def is_faster(weight: Tensor) -> bool:
            return is_read_by_column(Matrix.of(weight), workload.batch_size, steps, weight.dtype)

        transpose_weights(body, where=is_faster)


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


def _model(workload: Workload, body: Callable[[int], Body]) -> SequenceModel:
    """The model of a workload; `body` makes a body for an input size.

    In inference it is in `eval` mode, as in real use: no dropout, and cuDNN keeps nothing for backward.
    """
    model = SequenceModel(
        body(workload.input_shape[0]),
        nn.Linear(workload.directions * workload.hidden_size, workload.output_size),
        workload.task,
        output_steps=workload.output_steps,
        decoder=body(workload.output_size) if workload.task == "encoder_decoder" else None,
    )
    return model.eval() if workload.phase == "inference" else model


def _layer(workload: Workload, lengths: Tensor | None, input_size: int, *, is_padded: bool) -> TorchLayer:
    layers: dict[Reference, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
    more = _nonlinearity(workload, layers[workload.reference])
    layer = layers[workload.reference](
        input_size,
        workload.hidden_size,
        workload.num_layers,
        dropout=workload.dropout,
        bidirectional=workload.bidirectional,
        **more,
    )
    return TorchLayer(layer, directions=workload.directions, lengths=lengths, is_padded=is_padded)


def _reference(workload: Workload, root: Path, factory: Factory | None) -> tuple[SequenceModel | None, int]:
    """The model of a group's reference, None without one, and the number of tensors of a usual state.

    A cell that is the reference runs in a loop; a module that runs whole sequences does so.
    """
    if not is_cell_reference(workload.reference):
        states = state_count(factory or nn.Module, workload.reference)
        if workload.reference == "none":
            return None, states
        return _model(workload, partial(_layer, workload, _lengths(workload), is_padded=False)), states
    cell_spec = spec(workload.reference, "none")
    reference_factory = load(cell_spec.target, root)
    states = state_count(reference_factory, cell_spec.reference)

    def body(input_size: int) -> Body:
        if is_own(workload.reference):
            module = _module(workload, cell_spec, reference_factory, input_size)
            h = torch.zeros(1, 1, workload.hidden_size)
            if runs_whole(module, input_size, h if states == 1 else (h,) * states):
                return _whole(workload, cell_spec, reference_factory, input_size)
        case = Case(workload.reference, "reference", workload)
        return _cells(case, cell_spec, reference_factory, 1, input_size)

    return _model(workload, body), states


def _whole(workload: Workload, cell_spec: CellSpec, factory: Factory, input_size: int) -> TorchLayer:
    """A user's module that runs the whole sequence; raises Skip if it does not support the layers or directions."""
    more: dict[str, Any] = {"num_layers": workload.num_layers} if workload.num_layers > 1 else {}
    more |= {"bidirectional": True} if workload.bidirectional else {}
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a class in C
        parameters = MappingProxyType({})
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if more.keys() - parameters.keys() and not takes_any:
        raise Skip(f"{factory.__name__} can't be built with {' and '.join(more)}")
    return TorchLayer(_module(workload, cell_spec, factory, input_size, more), directions=workload.directions)


def _cells(
    case: Case,
    cell_spec: CellSpec,
    factory: Factory,
    compiled_steps: int,
    input_size: int,
) -> Cells:
    """The cells of all layers and directions; raises Skip if the implementation can't run the cell."""
    workload, stacked = case.workload, cell_spec.stacked
    lengths = _lengths(workload)
    how = case.implementation
    run: Run = CompiledRun(compiled_steps, how) if how in COMPILED else RUNS[how]
    if stacked:
        if workload.bidirectional or workload.dropout:
            raise Skip(
                "the cell has layers of its own, which support neither a second direction nor dropout between layers"
            )
        cells = [factory(input_size, workload.hidden_size, workload.num_layers, **_nonlinearity(workload, factory))]
    else:
        above = workload.directions * workload.hidden_size
        sizes = [input_size, *[above] * (workload.num_layers - 1)]
        cells = [_module(workload, cell_spec, factory, size) for size in sizes for _ in range(workload.directions)]
    if case.implementation == "hoisted" and not can_hoist(cells[0]):
        raise Skip("nothing to hoist: the cell has no `project` and `advance`")
    if case.implementation == "scan" and not hasattr(cells[0], "scan"):
        raise Skip("nothing to scan: the cell has no `scan`, which needs a recurrence that is linear in its state")
    return Cells(
        cells,
        run,
        stacked=stacked,
        directions=workload.directions,
        dropout=workload.dropout,
        mask=None if lengths is None else step_mask(lengths),
    )


def _module(
    workload: Workload, cell_spec: CellSpec, factory: Factory, input_size: int, more: Mapping[str, Any] = NOTHING
) -> nn.Module:
    """A module of its own sizes, or of the sizes and the arguments that the suite gives."""
    sizes = {
        "input_size": input_size,
        "hidden_size": workload.hidden_size,
        "output_size": workload.output_size,
        "batch_size": workload.batch_size,
    }
    return construct(factory, sizes, cell_spec.arguments, {**more, **_nonlinearity(workload, factory)})


def _nonlinearity(workload: Workload, factory: Factory) -> dict[str, Any]:
    """The argument for a nonlinearity other than tanh; raises Skip if the constructor does not take it."""
    if workload.nonlinearity == "tanh":
        return {}
    try:
        takes_it = "nonlinearity" in inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a class in C
        takes_it = False
    if not takes_it and not (isinstance(factory, type) and issubclass(factory, nn.RNN)):
        raise Skip(f"{factory.__name__} has no argument `nonlinearity`: it can't be {workload.nonlinearity}")
    return {"nonlinearity": workload.nonlinearity}


def _inputs(workload: Workload, states: int) -> tuple[Tensor, State]:
    """Normal draws, since zeros can be faster to compute with and hide errors. `states`: tensors of a state."""
    generator = torch.Generator().manual_seed(SEED)

    def draw(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=generator)
        return values.to(device=workload.device, dtype=torch_dtype(workload.dtype))

    steps = (workload.input_steps, workload.batch_size)
    if workload.input.startswith("tokens"):
        input = torch.randint(workload.input_shape[0], steps, generator=generator).to(workload.device)
    else:
        input = draw(*steps, *workload.input_shape)
    h = draw(workload.num_layers * workload.directions, workload.batch_size, workload.hidden_size)
    return input, h if states == 1 else (h, *(torch.randn_like(h) for _ in range(states - 1)))


def _lengths(workload: Workload) -> Tensor | None:
    """The length of each sequence, (batch): uniform from 1 to `seq_len`, the first `seq_len`; None if all are equal."""
    if workload.lengths == "equal":
        return None
    generator = torch.Generator().manual_seed(SEED)
    lengths = torch.randint(1, workload.seq_len + 1, (workload.batch_size,), generator=generator)
    lengths[0] = workload.seq_len
    return lengths

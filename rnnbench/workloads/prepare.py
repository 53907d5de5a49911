"""Prepare a case: its model and that of its reference, with equal weights and inputs, and the call to be timed."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from rnnbench.adapt.contract import seed
from rnnbench.cells import is_own, load, spec
from rnnbench.cells.states import State, convert, leaves, torch_dtype
from rnnbench.cells.weights import state_count
from rnnbench.store.implementations import ROW_OF, Implementation
from rnnbench.store.records import (
    GATES,
    ITEM_BYTES,
    LAYERS,
    LOADS,
    Case,
    Workload,
    is_cell_reference,
    reference_cell,
)
from rnnbench.workloads import graphed
from rnnbench.workloads.data import epoch
from rnnbench.workloads.implementations import (
    RUNNERS,
    check_makes_sense,
)
from rnnbench.workloads.make_model import MODEL_SEED, check_hidden_size, make_model
from rnnbench.workloads.match_reference import adapt_model, take_weights
from rnnbench.workloads.model import (
    Cells,
    SequenceModel,
)
from rnnbench.workloads.phases import (
    PHASE_MODES,
    OptimizerAndLoss,
    StepStream,
    TimedCall,
    direction_of,
    fixed,
    in_turn,
    is_capturable,
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
    trains_with: OptimizerAndLoss = (torch.optim.Adam, None)  # in the phase `step`
    recorded: list[graphed.Replayed] = field(default_factory=list, repr=False, compare=False)  # empty, or one

    @property
    def state(self) -> State:
        """The initial state in the form that the model takes."""
        return self.state_of(self.case.workload.batch_size)

    def state_of(self, sequences: int) -> State:
        """Return the initial state for the first `sequences` of the batch, in the same form."""
        layer_state = tree_map(lambda part: part[:, :sequences].contiguous(), self.layer_state)  # as cuDNN requires
        return self.model.own_state(layer_state)

    @property
    def is_of_cells(self) -> bool:
        """Whether the model is made of cells, whose states have a form of their own."""
        return isinstance(self.model.body, Cells)

    def runner(self) -> nn.Module:
        """Return the module to call: the model itself, or its recording, made at the first call."""
        if not ROW_OF[self.case.implementation].is_recorded:
            return self.model
        if not self.recorded:
            work = self.case.workload
            state = self.state
            if work.task == "streaming":  # each step copies into the recorded state, and the first one must stay
                state = tree_map(torch.clone, state)
            direction = None if work.phase == "inference" else direction_of(work, self.state)
            with PHASE_MODES[work.phase]():
                self.recorded.append(graphed.Replayed(self.model, self.input, state, direction))
        return self.recorded[0]

    def timed_call(self) -> TimedCall:
        """Return the call of this case's phase."""
        workload = self.case.workload
        if workload.phase == "epoch":
            return epoch(self.model, self.state_of, workload)
        if ROW_OF[self.case.implementation].is_recorded and workload.phase == "step" and is_capturable(workload):
            return self._recorded_step()
        runner = self.runner()
        pool = runner.pool if isinstance(runner, graphed.Replayed) else None
        direction = runner.graphs.direction if isinstance(runner, graphed.Replayed) else None
        inputs = in_turn(self.input) if pool is None else fixed(self.input)
        if workload.task == "streaming":  # a step whose output is in the host's memory when the call returns
            stream = StepStream(runner, inputs.tensors, self.state)
            timed = TimedCall(lambda: stream.step().cpu(), PHASE_MODES["inference"], restart=stream.restart)
        else:
            timed = timed_call(workload, runner, inputs.tensors, self.state, self.trains_with, direction)
        return replace(timed, inputs=inputs, pool=pool)

    def _recorded_step(self) -> TimedCall:
        """Return the replay of a whole training step: forward, backward, clipping, and the optimizer's own kernels."""
        handle: Any = torch.cuda.graph_pool_handle  # untyped in torch
        pool = handle()
        inputs = fixed(self.input)
        timed = timed_call(self.case.workload, self.model, inputs.tensors, self.state, self.trains_with)
        with timed.mode():
            replay = graphed.recorded(timed.call, pool)
        return replace(timed, call=replay, inputs=inputs, pool=pool)


def reference_case(case: Case) -> Case:
    """Return the case of the reference in a case's group, which has one."""
    reference = case.workload.reference
    implementation: Implementation = "reference" if is_cell_reference(reference) else "torch.nn"
    return Case(reference_cell(reference), implementation, case.workload)


def build(
    case: Case, root: Path, compiled_steps: int = 32, after_reference: Callable[[], None] = lambda: None
) -> Built:
    """Build a case's model and inputs; equal workloads get equal weights and inputs.

    `compiled_steps`: how many steps `torch.compile` gets in one piece; `after_reference` is called between the building
    of the reference and that of the case, if these are two. Raises Skip if the case makes no sense,
    CellError if a user's own class does not fit, and whatever that class raises.
    """
    check_makes_sense(case)
    seed(MODEL_SEED)
    if case.workload.reference == "none":
        return _built(case, root, compiled_steps, None)
    reference = _built(reference_case(case), root, compiled_steps, None)
    if case.is_reference:
        return reference
    after_reference()
    return _built(case, root, compiled_steps, reference)


def _built(case: Case, root: Path, compiled_steps: int, reference: Built | None) -> Built:
    """Build one side of a comparison; what a `reference` is compared with gets its weights, inputs and state."""
    workload = case.workload
    cell_spec = spec(case.cell, "none" if case.implementation == "reference" else workload.reference)
    factory = load(cell_spec.target, root)
    trains_with = optimizer_and_loss(workload, root)
    states = state_count(factory, cell_spec.reference)
    model = make_model(case, cell_spec, factory, states, compiled_steps)
    # Before weights are mapped, so that sums of weights are rounded once, in the dtype that is compared.
    convert(model, workload.device, torch_dtype(workload.dtype))
    input, state = _inputs(workload, states) if reference is None else (reference.input, reference.layer_state)
    compared = model if reference is None else reference.model
    unequal = ""
    is_other = bool(cell_spec.unequal) and not cell_spec.stacked  # its state and weights are none of torch.nn's
    if is_other or is_own(case.cell) or is_cell_reference(workload.reference):
        state, unequal = adapt_model(model, input, state, workload, compared)
    if is_own(case.cell):
        widths = {model.head.in_features, model.head.in_features // workload.directions}
        if isinstance(model.body, Cells) or model.body.has_state:
            widths |= {size for part in leaves(state) for size in part.shape[2:]}
        check_hidden_size(workload, cell_spec, factory, widths)
    if case.is_reference:
        unequal = ""
    elif reference is None:
        unequal = "there is no reference"
    else:
        unequal = unequal or take_weights(workload, cell_spec, model, compared)
        if is_other and workload.reference in LAYERS:
            unequal = cell_spec.unequal
    for body in model.bodies:
        RUNNERS[case.implementation].lay_out(body, workload)
    return Built(case, model, compared, input, state, unequal, trains_with)


def _inputs(workload: Workload, states: int) -> tuple[Tensor, State]:
    """Draw normal values, since zeros can be faster to compute with and hide errors. `states`: tensors of a state."""
    generator = torch.Generator().manual_seed(MODEL_SEED)

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
    """Return the least memory of a case, in bytes, by its sizes: a case larger than the machine is not tried.

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

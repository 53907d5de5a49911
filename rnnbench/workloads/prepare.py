"""Prepare a case: its model and that of its reference, with equal weights and inputs, and the call to be timed.

A model is made of cells, layers and modules, by the sizes of a workload; users' own are made callable in the usual way.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from rnnbench.adapt.calls import adapt
from rnnbench.adapt.contract import construct, constructor_call, on_trial, parameters_of, seed
from rnnbench.adapt.kinds import adapt_layer, runs_whole
from rnnbench.cells import CellError, CellSpec, is_own, load, spec
from rnnbench.cells.states import State, convert, fails_in_inference_mode, leaves, to_cell, torch_dtype
from rnnbench.cells.weights import state_count
from rnnbench.store.implementations import ROW_OF, Implementation
from rnnbench.store.metrics import COMPILED
from rnnbench.store.records import (
    AUTOCAST,
    GATES,
    ITEM_BYTES,
    LAYERS,
    LOADS,
    Case,
    Workload,
    computed_in,
    is_cell_reference,
    reference_cell,
)
from rnnbench.workloads import compiled, graphed
from rnnbench.workloads.implementations import (
    RUNNERS,
    Skip,
    check_makes_sense,
    feed_back,
)
from rnnbench.workloads.model import (
    Body,
    Cells,
    OutputHead,
    SequenceModel,
    TorchLayer,
    flatten_weights,
    model_weights,
    own_module,
)
from rnnbench.workloads.phases import (
    MODES,
    OptimizerAndLoss,
    StepStream,
    TimedCall,
    direction_of,
    epoch,
    fixed,
    in_turn,
    is_capturable,
    optimizer_and_loss,
    timed_call,
)

Factory = Callable[..., nn.Module]
SEED = 0
NEED_STATE = ("one_to_many", "encoder_decoder", "streaming")


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
        if self.case.implementation != "cudagraph":
            return self.model
        if not self.recorded:
            work = self.case.workload
            direction = None if work.phase == "inference" else direction_of(work, self.state)
            with MODES[work.phase]():
                self.recorded.append(graphed.Replayed(self.model, self.input, self.state, direction))
        return self.recorded[0]

    def timed_call(self) -> TimedCall:
        """Return the call of this case's phase."""
        workload = self.case.workload
        if workload.phase == "epoch":
            return epoch(self.model, self.state_of, workload)
        if self.case.implementation == "cudagraph" and workload.phase == "step" and is_capturable(workload):
            return self._recorded_step()
        runner = self.runner()
        pool = runner.pool if isinstance(runner, graphed.Replayed) else None
        direction = runner.graphs.direction if isinstance(runner, graphed.Replayed) else None
        inputs = in_turn(self.input) if pool is None else fixed(self.input)
        if workload.task == "streaming":  # a step whose output is in the host's memory when the call returns
            stream = StepStream(runner, inputs.tensors, self.state)
            timed = TimedCall(lambda: stream.step().cpu(), MODES["inference"], restart=stream.restart)
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
    seed(SEED)
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
    if case.is_reference:
        unequal = ""
    elif reference is None:
        unequal = "there is no reference"
    else:
        unequal = unequal or take_weights(workload, cell_spec, model, compared)
        if is_other and workload.reference in LAYERS:
            unequal = cell_spec.unequal
    if case.implementation == "torch.nn-flattened":
        flatten_weights(model)
    for body in model.bodies:
        RUNNERS[case.implementation].lay_out(body, workload)
    return Built(case, model, compared, input, state, unequal, trains_with)


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


def make_model(case: Case, spec: CellSpec, factory: Factory, states: int, compiled_steps: int) -> SequenceModel:
    """Make the model of a case, or of the reference as a case.

    `states`: the number of tensors of a usual state. In inference the model is in `eval` mode, as in real use: no
    dropout, and cuDNN keeps nothing for backward. Raises Skip if the implementation can't run the cell, and CellError
    if the cell can't be built.
    """
    workload = case.workload
    how = case.implementation

    def body(input_size: int) -> Body:
        is_whole = ROW_OF[how].is_whole
        if how == "reference" and is_own(case.cell):
            h = torch.zeros(1, 1, workload.hidden_size)
            step = (input_size, *workload.input_shape[1:])
            usual = h if states == 1 else (h,) * states
            is_whole = runs_whole(
                make_module(workload, spec, factory, input_size), step, usual, reads_tokens=workload.reads_tokens
            )
        if is_whole:
            return TorchLayer(
                make_whole(workload, spec, factory, input_size),
                directions=workload.directions,
                lengths=None if is_own(case.cell) else _lengths(workload),
                is_padded=how == "torch.nn-padded",
            )
        return _cells(case, spec, factory, compiled_steps, input_size)

    model = SequenceModel(
        body(workload.input_shape[0]),
        OutputHead(workload.directions * workload.hidden_size, workload.output_size, workload.head),
        workload.task,
        output_steps=workload.output_steps,
        decoder=body(workload.output_size) if workload.task == "encoder_decoder" else None,
    )
    if workload.dtype.startswith(AUTOCAST):
        model.autocast = torch_dtype(computed_in(workload.dtype))
    if how in COMPILED:
        model.feed_back = compiled.feed_back_in_pieces(compiled_steps, compiled.compiled(feed_back, how))
    return model.eval() if workload.phase == "inference" else model


def make_whole(workload: Workload, spec: CellSpec, factory: Factory, input_size: int) -> nn.Module:
    """Make a module that is all layers and directions; raises Skip if it supports no such or no such nonlinearity."""
    more: dict[str, Any] = {"num_layers": workload.num_layers} if workload.num_layers > 1 else {}
    more |= {name: getattr(workload, name) for name in ("bidirectional", "dropout") if getattr(workload, name)}
    parameters = parameters_of(factory)
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if more.keys() - parameters.keys() and not takes_any:
        raise Skip(f"{factory.__name__} can't be built with {' and '.join(more)}")
    return make_module(workload, spec, factory, input_size, **more)


def _cells(case: Case, spec: CellSpec, factory: Factory, compiled_steps: int, input_size: int) -> Cells:
    """Make the cells of all layers and directions; raises Skip if the implementation can't run the cell."""
    workload = case.workload
    how = case.implementation
    if spec.stacked and (workload.bidirectional or workload.dropout):
        raise Skip(
            "the cell has layers of its own, which support neither a second direction nor dropout between layers"
        )
    above = workload.directions * workload.hidden_size
    sizes = [input_size] if spec.stacked else [input_size, *[above] * (workload.num_layers - 1)]
    more = {"num_layers": workload.num_layers} if spec.stacked else {}
    cells = [make_module(workload, spec, factory, size, **more) for size in sizes for _ in range(workload.directions)]
    runner = RUNNERS[how]
    if reason := runner.lacks(cells[0]):
        raise Skip(reason)
    run = runner.run
    if run is None:
        raise ValueError(f"{how} runs no cells")
    if how in COMPILED:
        run = compiled.in_pieces(compiled_steps, compiled.compiled(run, how))
    return Cells(
        cells,
        run,
        stacked=spec.stacked,
        directions=workload.directions,
        dropout=workload.dropout,
        lengths=_lengths(workload),
    )


def make_module(workload: Workload, spec: CellSpec, factory: Factory, input_size: int, **more: Any) -> nn.Module:
    """Make a module of its own sizes, or of the sizes and the arguments that the suite gives.

    Raises Skip if it should have a nonlinearity other than tanh, and its constructor does not take one.
    """
    if workload.nonlinearity != "tanh":
        takes_it = "nonlinearity" in parameters_of(factory)
        if not takes_it and not (isinstance(factory, type) and issubclass(factory, nn.RNN)):
            raise Skip(f"{factory.__name__} has no argument `nonlinearity`: it can't be {workload.nonlinearity}")
        more["nonlinearity"] = workload.nonlinearity
    return construct(factory, _sizes(workload, input_size), {**spec.arguments, **more})


def built_by(case: Case, root: Path) -> str:
    """Return the call that builds a user's own class for a case, with the sizes that were given to it.

    Empty for a cell of rnnbench or torch. What a suite asks of several layers or directions is left out.
    """
    if not is_own(case.cell):
        return ""
    cell_spec = spec(case.cell, case.workload.reference)
    factory = load(cell_spec.target, root)
    return constructor_call(factory, _sizes(case.workload, case.workload.input_shape[0]), cell_spec.arguments)


def _sizes(workload: Workload, input_size: int) -> dict[str, int]:
    return {"input_size": input_size} | {
        name: getattr(workload, name) for name in ("hidden_size", "output_size", "batch_size")
    }


def _lengths(workload: Workload) -> Tensor | None:
    """Return each sequence's length, (batch): from 1 to `seq_len`, the first `seq_len`; None if all are equal."""
    if workload.lengths == "equal":
        return None
    generator = torch.Generator().manual_seed(SEED)
    lengths = torch.randint(1, workload.seq_len + 1, (workload.batch_size,), generator=generator)
    lengths[0] = workload.seq_len
    return lengths


def adapt_model(
    model: SequenceModel, input: Tensor, usual: State, workload: Workload, reference: SequenceModel
) -> tuple[State, str]:
    """Make a model of a user's own class callable in the usual way, and its head fit the outputs.

    `input`: (steps, batch, input); `usual`: the reference's state in torch.nn's form. Returns the first state in that
    form, and why outputs can't be compared with the reference's; empty if nothing is known. Raises CellError if layers
    keep states of unlike sizes, and Skip if the task needs a state and the module takes none.
    """
    state = usual
    why = ""
    width = workload.directions * workload.hidden_size
    for body in model.bodies:
        # A decoder begins with the encoder's final state, and reads its own outputs.
        given = input if body is model.body else input.new_zeros(1, input.shape[1], workload.output_size)
        if isinstance(body, Cells):
            own = _adapt_cells(body, given[0], usual)
            if own is not None:
                width = workload.directions * own[0].shape[-1]
                if [(part.shape, part.dtype) for part in own] != [(part.shape, part.dtype) for part in leaves(usual)]:
                    state = own[0] if len(own) == 1 else tuple(own)
                    why = f"its state is not that of {workload.layer}"
        elif (found := adapt_layer(body.layer, given, usual)) is not None:
            takes_state = found[1].takes_state
            if not takes_state and workload.task in NEED_STATE:
                raise Skip(f"{workload.task} goes on from a state, but {type(body.layer).__name__} takes none")
            body.layer = found[0]
            body.has_state = takes_state
            width = found[1].width
            if not takes_state and getattr(reference.body, "has_state", True):
                why = "it takes no state"
    if width != model.head.in_features:
        why = why or f"its outputs have {width} features where those of {workload.layer} have another number"
        weight = model.head.weight
        model.head = OutputHead(width, model.head.out_features, model.head.kind).to(weight)
    model.takes_own_gradients = fails_in_inference_mode(partial(on_trial(model), input[:1], model.own_state(state)))
    return state, why


def _adapt_cells(body: Cells, input: Tensor, usual: State) -> list[Tensor] | None:
    """Return each tensor of the first state for all cells, (layers * directions, batch, ...); None if they are none."""
    of_one = tuple(part[:1] for part in leaves(usual))
    usual_of_one = to_cell(of_one[0] if isinstance(usual, Tensor) else of_one, stacked=False)
    states: list[tuple[Tensor, ...]] = []
    for first in range(0, len(body.cells), body.directions):
        for index in range(first, first + body.directions):
            body.cells[index], state = adapt(body.cells[index], input, usual_of_one)
            if state is None:
                return None
            states.append(state)
        input = torch.cat([torch.zeros_like(state[0]) for state in states[first:]], dim=-1)
    if len({tuple(part.shape for part in state) for state in states}) > 1:
        raise CellError(
            f"{type(body.cells[0]).__name__} keeps states of unlike sizes in its layers or directions; "
            "expected num_layers = 1 and one direction"
        )
    return [torch.stack(list(part)) for part in zip(*states, strict=True)]


def take_weights(workload: Workload, spec: CellSpec, model: SequenceModel, reference: SequenceModel) -> str:
    """Give a model its reference's weights; returns why its outputs can't be compared, empty if they can.

    If they can't be given, only the head gets them and the body keeps its own. Raises CellError if a class's mapping
    does not fit it.
    """
    why = "the class asks for that (`weights_from = None`)"
    if getattr(own_module(model.body), "weights_from", ...) is not None:
        mapped = model_weights(model, dict(reference.named_parameters()))
        if mapped is not None:
            with torch.no_grad():
                for name, parameter in model.named_parameters():  # not `load_state_dict`, which would need buffers too
                    parameter.copy_(mapped[name])
            return spec.unequal
        like = f"{workload.layer}{'Cell' if isinstance(model.body, Cells) else ''}"
        why = f"no weight mapping: offer `weights_from`, or name parameters as {like} does"
        if is_cell_reference(workload.reference):
            why = f"its parameters are not those of {workload.layer}"
    if model.head.in_features == reference.head.in_features:
        model.head.load_state_dict(reference.head.state_dict())
    return why


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

"""Make the model of a case or of its reference: cells, layers and modules, by the sizes of a workload.

Give it the weights of its reference, as a differentiable function of them.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.calls import adapt, can_hoist
from rnnbench.adapt.contract import construct, parameters_of
from rnnbench.adapt.kinds import adapt_layer, runs_whole
from rnnbench.adapt.states import on_trial
from rnnbench.cells import CellError, CellSpec, is_own
from rnnbench.cells.parity import Weights
from rnnbench.cells.states import State, fails_in_inference_mode, leaves, to_cell
from rnnbench.cells.weights import cell_weights, shapes
from rnnbench.store.metrics import COMPILED
from rnnbench.store.records import Case, Implementation, Workload, is_cell_reference
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Run, Skip, eager, feed_back, hoisted, loop, scan, step_by_step
from rnnbench.workloads.model import Body, Cells, OutputHead, SequenceModel, TorchLayer, own_module, step_mask

Factory = Callable[..., nn.Module]
SEED = 0
WHOLE: tuple[Implementation, ...] = ("sequence", "torch.nn", "torch.nn-padded", "torch.nn-flattened")
NEED_STATE = ("one_to_many", "encoder_decoder", "streaming")

RUNS: dict[Implementation, Run] = {
    "loop": loop,
    "reference": loop,
    "torch.nn-cell": loop,
    "hoisted": hoisted,
    "scan": scan,
    "transposed": eager,
    "cudagraph": eager,
}


def make_model(case: Case, spec: CellSpec, factory: Factory, states: int, compiled_steps: int) -> SequenceModel:
    """Make the model of a case, or of the reference as a case.

    `states`: the number of tensors of a usual state. In inference the model is in `eval` mode, as in real use: no
    dropout, and cuDNN keeps nothing for backward. Raises Skip if the implementation can't run the cell, and CellError
    if the cell can't be built.
    """
    workload, how = case.workload, case.implementation

    def body(input_size: int) -> Body:
        make = partial(make_module, workload, spec, factory, input_size)
        is_whole = how in WHOLE
        if how == "reference" and is_own(case.cell):
            h, step = torch.zeros(1, 1, workload.hidden_size), (input_size, *workload.input_shape[1:])
            usual = h if states == 1 else (h,) * states
            is_whole = runs_whole(make(), step, usual, reads_tokens=workload.reads_tokens)
        if is_whole:
            return TorchLayer(
                make(**_whole_arguments(workload, factory)),
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
    if how in COMPILED:
        model.feed_back = compiled.feed_back_in_pieces(compiled_steps, compiled.compiled(feed_back, how))
    return model.eval() if workload.phase == "inference" else model


def _whole_arguments(workload: Workload, factory: Factory) -> dict[str, Any]:
    """Return what a module for whole sequences is built with; raises Skip if it does not support that."""
    more: dict[str, Any] = {"num_layers": workload.num_layers} if workload.num_layers > 1 else {}
    more |= {name: getattr(workload, name) for name in ("bidirectional", "dropout") if getattr(workload, name)}
    parameters = parameters_of(factory)
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if more.keys() - parameters.keys() and not takes_any:
        raise Skip(f"{factory.__name__} can't be built with {' and '.join(more)}")
    return more


def _cells(case: Case, spec: CellSpec, factory: Factory, compiled_steps: int, input_size: int) -> Cells:
    """Make the cells of all layers and directions; raises Skip if the implementation can't run the cell."""
    workload, how = case.workload, case.implementation
    if spec.stacked and (workload.bidirectional or workload.dropout):
        raise Skip(
            "the cell has layers of its own, which support neither a second direction nor dropout between layers"
        )
    above = workload.directions * workload.hidden_size
    sizes = [input_size] if spec.stacked else [input_size, *[above] * (workload.num_layers - 1)]
    more = {"num_layers": workload.num_layers} if spec.stacked else {}
    cells = [make_module(workload, spec, factory, size, **more) for size in sizes for _ in range(workload.directions)]
    if how == "hoisted" and not can_hoist(cells[0]):
        raise Skip("nothing to hoist: the cell has no `project` and `advance`, or hooks that need a call")
    if how == "scan" and not hasattr(cells[0], "scan"):
        raise Skip("nothing to scan: the cell has no `scan`, which needs a recurrence that is linear in its state")
    if how in COMPILED:
        function = step_by_step if how == "prepacked" else eager
        run = compiled.in_pieces(compiled_steps, compiled.compiled(function, how))
    else:
        run = RUNS[how]
    lengths = _lengths(workload)
    return Cells(
        cells,
        run,
        stacked=spec.stacked,
        directions=workload.directions,
        dropout=workload.dropout,
        mask=None if lengths is None else step_mask(lengths),
    )


def make_module(workload: Workload, spec: CellSpec, factory: Factory, input_size: int, **more: Any) -> nn.Module:
    """Make a module of its own sizes, or of the sizes and the arguments that the suite gives.

    Raises Skip if it should have a nonlinearity other than tanh, and its constructor does not take one.
    """
    named = {name: getattr(workload, name) for name in ("hidden_size", "output_size", "batch_size")}
    if workload.nonlinearity != "tanh":
        takes_it = "nonlinearity" in parameters_of(factory)
        if not takes_it and not (isinstance(factory, type) and issubclass(factory, nn.RNN)):
            raise Skip(f"{factory.__name__} has no argument `nonlinearity`: it can't be {workload.nonlinearity}")
        more["nonlinearity"] = workload.nonlinearity
    return construct(factory, {"input_size": input_size, **named}, {**spec.arguments, **more})


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
    state, why, width = usual, "", workload.directions * workload.hidden_size
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
            body.layer, body.has_state, width = found[0], takes_state, found[1].width
            if not takes_state and getattr(reference.body, "has_state", True):
                why = "it takes no state"
    if width != model.head.in_features:
        why = why or f"its outputs have {width} features where those of {workload.layer} have another number"
        weight = model.head.weight
        model.head = OutputHead(width, model.head.out_features, model.head.kind).to(weight)
    model.takes_own_gradients = fails_in_inference_mode(partial(on_trial(model), input[:1], model.own_state(state)))
    return state, why and f"not compared: {why}"


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


def model_weights(model: SequenceModel, reference: Weights) -> dict[str, Tensor] | None:
    """Return the parameters of `model`, by name, as a function of those of the reference's `SequenceModel`.

    Returns None and raises CellError as `cell_weights`.
    """
    if any(name.startswith("body.cells.") for name in reference):  # another cell, with the same parameters
        return dict(reference) if shapes(dict(model.named_parameters())) == shapes(reference) else None
    mapped = {name: weight for name, weight in reference.items() if name.startswith("head.")}
    for part, body in zip(("body", "decoder"), model.bodies, strict=False):
        start = f"{part}.layer."
        own = {name.removeprefix(start): weight for name, weight in reference.items() if name.startswith(start)}
        for place, module, weights in _modules(body, own):
            given = cell_weights(module, weights, whole=not isinstance(body, Cells))
            if given is None:
                return None
            mapped |= {f"{part}.{place}.{name}": weight for name, weight in given.items()}
    return mapped


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
    return f"not compared: {why}"


def _modules(body: Body, reference: Weights) -> Iterator[tuple[str, nn.Module, Weights]]:
    """Yield each module of a body, its place there, and the layer's weights that it has.

    The weights of one layer and direction are named as those of the first.
    """
    if not isinstance(body, Cells):
        yield "layer", body.layer, reference
        return
    for index, cell in enumerate(body.cells):
        layer, direction = divmod(index, body.directions)
        ending = f"_l{layer}{'_reverse' if direction else ''}"
        own = {f"{key.removesuffix(ending)}_l0": each for key, each in reference.items() if key.endswith(ending)}
        yield f"cells.{index}", cell, reference if body.stacked else own

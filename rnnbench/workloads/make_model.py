"""Make the model of a case or of its reference: cells, layers and modules, by the sizes of a workload."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.calls import can_hoist
from rnnbench.adapt.contract import construct, parameters_of
from rnnbench.adapt.layers import runs_whole
from rnnbench.cells import CellSpec, is_own, load, spec
from rnnbench.cells.own import state_count
from rnnbench.store.metrics import COMPILED
from rnnbench.store.records import Case, Implementation, Reference, Workload, is_cell_reference
from rnnbench.workloads.compiled import CompiledFeedBack, CompiledRun
from rnnbench.workloads.implementations import Run, Skip, eager, hoisted, loop, scan
from rnnbench.workloads.model import Body, Cells, OutputHead, SequenceModel, TorchLayer, step_mask

Factory = Callable[..., nn.Module]
NOTHING: Mapping[str, Any] = MappingProxyType({})
SEED = 0
LAYER_CLASSES: dict[Reference, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}

RUNS: dict[Implementation, Run] = {
    "loop": loop,
    "reference": loop,
    "torch.nn-cell": loop,
    "hoisted": hoisted,
    "scan": scan,
    "transposed": eager,
    "cudagraph": eager,
}


def own_model(case: Case, cell_spec: CellSpec | None, factory: Factory | None, compiled_steps: int) -> SequenceModel:
    """The model of a case that is not a reference; without a spec it is that of a layer of torch.nn.

    Raises Skip if the implementation can't run the cell, and CellError if the cell can't be built.
    """
    workload = case.workload
    if cell_spec is None or factory is None:
        model = _model(
            workload, partial(_layer, workload, _lengths(workload), is_padded=case.implementation == "torch.nn-padded")
        )
    elif case.implementation == "sequence":
        model = _model(workload, partial(_whole, workload, cell_spec, factory))
    else:
        model = _model(workload, partial(_cells, case, cell_spec, factory, compiled_steps))
    if case.implementation in COMPILED:
        model.feed_back = CompiledFeedBack(compiled_steps, case.implementation)
    return model


def reference_model(workload: Workload, root: Path, factory: Factory | None) -> tuple[SequenceModel | None, int]:
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
            step = (input_size, *workload.input_shape[1:])
            if runs_whole(module, step, h if states == 1 else (h,) * states, reads_tokens=workload.reads_tokens):
                return _whole(workload, cell_spec, reference_factory, input_size)
        case = Case(workload.reference, "reference", workload)
        return _cells(case, cell_spec, reference_factory, 1, input_size)

    return _model(workload, body), states


def _model(workload: Workload, body: Callable[[int], Body]) -> SequenceModel:
    """The model of a workload; `body` makes a body for an input size.

    In inference it is in `eval` mode, as in real use: no dropout, and cuDNN keeps nothing for backward.
    """
    model = SequenceModel(
        body(workload.input_shape[0]),
        OutputHead(workload.directions * workload.hidden_size, workload.output_size, workload.head),
        workload.task,
        output_steps=workload.output_steps,
        decoder=body(workload.output_size) if workload.task == "encoder_decoder" else None,
    )
    return model.eval() if workload.phase == "inference" else model


def _layer(workload: Workload, lengths: Tensor | None, input_size: int, *, is_padded: bool) -> TorchLayer:
    layer_class = LAYER_CLASSES[workload.reference]
    more = _nonlinearity(workload, layer_class)
    layer = layer_class(
        input_size,
        workload.hidden_size,
        workload.num_layers,
        dropout=workload.dropout,
        bidirectional=workload.bidirectional,
        **more,
    )
    return TorchLayer(layer, directions=workload.directions, lengths=lengths, is_padded=is_padded)


def _whole(workload: Workload, cell_spec: CellSpec, factory: Factory, input_size: int) -> TorchLayer:
    """A user's module that runs the whole sequence; raises Skip if it does not support the layers or directions."""
    more: dict[str, Any] = {"num_layers": workload.num_layers} if workload.num_layers > 1 else {}
    more |= {"bidirectional": True} if workload.bidirectional else {}
    parameters = parameters_of(factory)
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
        raise Skip("nothing to hoist: the cell has no `project` and `advance`, or hooks that need a call")
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
    takes_it = "nonlinearity" in parameters_of(factory)
    if not takes_it and not (isinstance(factory, type) and issubclass(factory, nn.RNN)):
        raise Skip(f"{factory.__name__} has no argument `nonlinearity`: it can't be {workload.nonlinearity}")
    return {"nonlinearity": workload.nonlinearity}


def _lengths(workload: Workload) -> Tensor | None:
    """The length of each sequence, (batch): uniform from 1 to `seq_len`, the first `seq_len`; None if all are equal."""
    if workload.lengths == "equal":
        return None
    generator = torch.Generator().manual_seed(SEED)
    lengths = torch.randint(1, workload.seq_len + 1, (workload.batch_size,), generator=generator)
    lengths[0] = workload.seq_len
    return lengths

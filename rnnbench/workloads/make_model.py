"""Make the model of a case from cells, layers and modules, by the sizes of its workload."""

import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.contract import construct, constructor_call, meanings_of, parameters_of
from rnnbench.adapt.kinds import runs_whole
from rnnbench.cells import CellError, CellSpec, is_own, load, spec
from rnnbench.cells.states import torch_dtype
from rnnbench.store.implementations import COMPILED, ROW_OF
from rnnbench.store.records import (
    AUTOCAST,
    Case,
    Workload,
    computed_in,
)
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import (
    RUNNERS,
    Skip,
    feed_back,
)
from rnnbench.workloads.model import (
    Body,
    Cells,
    OutputHead,
    SequenceModel,
    TorchLayer,
)

Factory = Callable[..., nn.Module]
MODEL_SEED = 0  # of weights, inputs and lengths


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
                is_padded=ROW_OF[how].is_padded,
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


def check_hidden_size(workload: Workload, spec: CellSpec, factory: Factory, widths: Collection[int]) -> None:
    """Raise CellError if the hidden size of a case decides no width of a module: cases of unlike labels would be equal.

    `widths`: of its states and outputs. Parameters and buffers may have the width of a projection or a memory, so those
    of a module of twice the hidden size are compared, which is not run.
    """
    if workload.hidden_size in widths:
        return
    sizes = _sizes(workload, workload.input_shape[0])
    larger = sizes | {"hidden_size": 2 * workload.hidden_size}
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            shapes, others = (_shapes(construct(factory, each, spec.arguments)) for each in (sizes, larger))
    except CellError:  # it can't be built at this size, or without memory: nothing is known
        return
    if shapes != others:
        return
    wrong = next((name for name, size in meanings_of(factory, spec.arguments).items() if size == "input_size"), None)
    called = constructor_call(factory, sizes, spec.arguments)
    which = f"`{wrong}` gets the input size" if wrong else "none of its arguments gets it"
    raise CellError(
        f"{called} does not depend on hidden_size {workload.hidden_size}: {which}, and its state and outputs have the "
        f"width {', '.join(map(str, sorted(widths)))}; measure a function that builds it from both sizes, "
        "def build(input_size, hidden_size), as FILE.py:build"
    )


def _shapes(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """Return the name and the shape of each parameter and buffer."""
    return [(name, tuple(tensor.shape)) for name, tensor in (*module.named_parameters(), *module.named_buffers())]


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
    generator = torch.Generator().manual_seed(MODEL_SEED)
    lengths = torch.randint(1, workload.seq_len + 1, (workload.batch_size,), generator=generator)
    lengths[0] = workload.seq_len
    return lengths

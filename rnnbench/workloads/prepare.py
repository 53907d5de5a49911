"""A case made ready: weights from the reference, equal inputs, and the call to be timed."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells import CellSpec, is_own, load, spec
from rnnbench.cells.parity import cell_weights
from rnnbench.cells.states import State, first, to_cell
from rnnbench.store.records import Case, DType, Reference, Workload
from rnnbench.workloads.epoch import epoch
from rnnbench.workloads.implementations import Skip, check_applies
from rnnbench.workloads.model import SequenceModel
from rnnbench.workloads.phases import PHASES, TimedCall

SEED = 0


@dataclass(frozen=True)
class Built:
    """A model with the inputs it is given, before a phase makes a call of it."""

    case: Case
    spec: CellSpec | None  # None for the reference
    model: SequenceModel
    reference: SequenceModel  # the model itself where the case is the reference
    input: Tensor  # (seq, batch, input)
    layer_state: State  # in torch.nn's form

    @property
    def state(self) -> State:
        """The initial state in the form that the model takes."""
        return self.state_of(self.case.workload.batch_size)

    def state_of(self, sequences: int) -> State:
        """The same for the first sequences of the batch."""
        layer_state = first(self.layer_state, sequences)
        return layer_state if self.spec is None else to_cell(layer_state, stacked=self.spec.stacked)

    def timed_call(self) -> TimedCall:
        """The call of this case's phase."""
        workload = self.case.workload
        if workload.phase == "epoch":
            return epoch(self.model, self.state_of, workload, self.input.dtype)
        return PHASES[workload.phase](self.model, self.input, self.state)


def build(case: Case, root: Path) -> Built:
    """Build a case's model and inputs; equal workloads get equal weights and inputs.

    Raises Skip where the case makes no sense, and whatever a user's own cell raises.
    """
    workload = case.workload
    torch.manual_seed(SEED)
    # Converted before weights are mapped, so that sums of weights are rounded once, in the dtype that is compared.
    placement: dict[str, Any] = {"device": workload.device, "dtype": torch_dtype(workload.dtype)}
    reference = SequenceModel(_layer(workload), _head(workload), "torch.nn", stacked=False).to(**placement)
    input, layer_state = _inputs(workload)
    if case.is_reference:
        model, cell_spec = reference, None
    else:
        cell_spec = spec(case.cell, workload.reference)
        cell = _cell(cell_spec, workload, root)
        check_applies(cell, case.implementation)
        model = SequenceModel(cell, _head(workload), case.implementation, stacked=cell_spec.stacked).to(**placement)
        model.head.load_state_dict(reference.head.state_dict())
        if not is_own(case.cell):
            cell.load_state_dict(cell_weights(cell, dict(reference.body.named_parameters())))
    return Built(case, cell_spec, model, reference, input, layer_state)


def torch_dtype(dtype: DType) -> torch.dtype:
    """The type of a case's tensors; tf32 is a way of multiplying float32."""
    found: torch.dtype = getattr(torch, "float32" if dtype == "tf32" else dtype)
    return found


def _layer(workload: Workload) -> nn.RNNBase:
    layers: dict[Reference, Callable[[int, int, int], nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
    return layers[workload.reference](workload.input_size, workload.hidden_size, workload.num_layers)


def _head(workload: Workload) -> nn.Linear:
    return nn.Linear(workload.hidden_size, workload.output_size)


def _cell(cell_spec: CellSpec, workload: Workload, root: Path) -> nn.Module:
    cell_class = load(cell_spec.target, root)
    sizes = [workload.input_size, workload.hidden_size]
    if cell_spec.stacked:
        sizes.append(workload.num_layers)
    elif workload.num_layers > 1:
        raise Skip(f"the cell has one layer, and num_layers is {workload.num_layers}")
    try:
        inspect.signature(cell_class).bind(*sizes)
    except TypeError as error:
        raise TypeError(f"{cell_class.__name__}(input_size, hidden_size) can't be called: {error}") from None
    return cell_class(*sizes)


def _inputs(workload: Workload) -> tuple[Tensor, State]:
    """Normal draws, never zeros: arithmetic on zeros can be faster, and hides errors."""
    generator = torch.Generator().manual_seed(SEED)

    def draw(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=generator)
        return values.to(device=workload.device, dtype=torch_dtype(workload.dtype))

    input = draw(workload.seq_len, workload.batch_size, workload.input_size)
    h = draw(workload.num_layers, workload.batch_size, workload.hidden_size)
    return input, (h, torch.randn_like(h)) if workload.reference == "lstm" else h

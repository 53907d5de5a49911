"""Parameters, and torchinfo's estimates of one step beside the cell's own formula."""

from typing import Any

import torchinfo
from torch import nn

from rnnbench.cells.states import tensors, to_cell
from rnnbench.store.readings import Readings
from rnnbench.workloads import macs
from rnnbench.workloads.model import StepModel
from rnnbench.workloads.prepare import Built


def probe(built: Built) -> Readings:
    """torchinfo's counts of one step with the head; for a torch.nn layer, of a sequence of one step."""
    found = _of_step(built)
    values = {
        "parameters": int(found.total_params),
        "mult_adds": int(found.total_mult_adds),
        "input_bytes": int(found.total_input),
        "forward_backward_bytes": int(found.total_output_bytes),
        "parameter_bytes": int(found.total_param_bytes),
    }
    layers = macs.layers(built.spec, built.model.body, built.case.workload)
    if layers is None:
        return Readings(values, {"step_macs": "the cell has no formula (`products`) of its own"})
    return Readings(values | {"step_macs": macs.of_step(layers, built.case.workload)})


def _of_step(built: Built) -> Any:
    # Copies, because torchinfo counts the bytes of a tensor's whole storage, and a step is a view of the sequence.
    if built.spec is None:
        return _summary(built.model, built.input[:1].clone(), built.layer_state)
    step = StepModel(built.model.body, built.model.head, stacked=built.spec.stacked)
    states = tensors(to_cell(built.layer_state, stacked=built.spec.stacked))
    return _summary(step, *(part.clone() for part in (built.input[0], *states)))


def _summary(model: nn.Module, *inputs: Any) -> Any:
    try:
        return torchinfo.summary(model, input_data=list(inputs), verbose=0)
    except RuntimeError as error:
        raise error.__cause__ or error from None  # torchinfo puts its own words before what the model raised

"""Parameters, and torchinfo's estimates of one step beside the cell's own formula."""

from typing import Any

import torchinfo
from torch import nn

from rnnbench.cells.states import leaves
from rnnbench.store.readings import Readings
from rnnbench.workloads import macs
from rnnbench.workloads.model import StepModel
from rnnbench.workloads.prepare import Built


def probe(built: Built) -> Readings:
    """torchinfo's counts of one step with the head."""
    found = _of_step(built)
    values = {
        "parameters": int(found.total_params),
        "mult_adds": int(found.total_mult_adds),
        "input_bytes": int(found.total_input),
        "forward_backward_bytes": int(found.total_output_bytes),
        "parameter_bytes": int(found.total_param_bytes),
    }
    step_macs = macs.of_step(built.model, built.case.workload)
    if step_macs is None:
        return Readings(values, {"step_macs": "the cell has no formula (`products`) of its own"})
    return Readings(values | {"step_macs": step_macs})


def _of_step(built: Built) -> Any:
    # Copies, because torchinfo counts the bytes of a tensor's whole storage, and a step is a view of the sequence.
    step = StepModel(built.model, built.state)
    return _summary(step, *(part.clone() for part in (built.input[0], *leaves(built.state))))


def _summary(model: nn.Module, *inputs: Any) -> Any:
    try:
        return torchinfo.summary(model, input_data=list(inputs), verbose=0)
    except RuntimeError as error:
        raise error.__cause__ or error from None  # torchinfo puts its own words before what the model raised

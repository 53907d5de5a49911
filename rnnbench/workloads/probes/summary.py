"""Parameters, and torchinfo's counts and estimates of one step beside the cell's own formula."""

from typing import Any

import torchinfo
from torch import nn

from rnnbench.cells.states import leaves
from rnnbench.store.readings import Readings
from rnnbench.workloads import macs
from rnnbench.workloads.model import StepModel
from rnnbench.workloads.prepare import Built


def probe(built: Built) -> Readings:
    """The model's parameters, and torchinfo's counts of one step with the head."""
    statistics = _of_step(built)
    values = {
        # Not `total_params`, which counts a tied weight twice, and all weights of a scripted module.
        "parameters": sum(parameter.numel() for parameter in built.model.parameters()),
        "mult_adds": int(statistics.total_mult_adds),
        "input_bytes": int(statistics.total_input),
        "forward_backward_bytes": int(statistics.total_output_bytes),
        "parameter_bytes": int(statistics.total_param_bytes),
    }
    step_macs = macs.of_step(built.model, built.case.workload)
    if step_macs is None:
        return Readings(values, {"step_macs": "the cell has no formula (`products`) of its own"})
    return Readings(values | {"step_macs": step_macs})


def _of_step(built: Built) -> Any:
    # Copies, because torchinfo counts the bytes of a tensor's whole storage, and a step is a view of the sequence.
    given = [part.clone() for part in (built.input[0], *leaves(built.state))]
    modes = [(module, module.training) for module in built.model.modules()]
    try:
        return _summary(StepModel(built.model, built.state), *given)
    finally:
        for module, mode in modes:  # torchinfo leaves all modules in the outermost one's mode
            module.training = mode
        getattr(torchinfo.torchinfo, "_cached_forward_pass", {}).clear()  # torchinfo keeps the model here


def _summary(model: nn.Module, *inputs: Any) -> Any:
    try:
        return torchinfo.summary(model, input_data=list(inputs), verbose=0)
    except RuntimeError as error:
        raise error.__cause__ or error from None  # torchinfo wraps the model's exception in its own

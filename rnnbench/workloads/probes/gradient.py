"""How the gradient changes on its way back through time."""

import torch

from rnnbench.store.readings import Readings
from rnnbench.store.records import GRAPH_BACKENDS, Task
from rnnbench.workloads.phases import fixed_direction
from rnnbench.workloads.prepare import Built

ONE_PASS: tuple[Task, ...] = ("many_to_many", "many_to_one")  # whose last output has read every step of the input


def probe(built: Built) -> Readings:
    """The factor of the gradient's norm for each step back in time, of the last output by each step of the input.

    The geometric mean over the sequence: the ratio of the norms at the first and the last step, to the power of one
    over the steps between them. Missing if no gradient goes back through all steps, or if it is too small or too large
    for its type.
    """
    if reason := _why_not(built):
        return Readings(missing={"gradient_factor": reason})
    input = built.input.detach().clone().requires_grad_()
    output, _ = built.model(input, built.state)
    last = output[-1]
    (gradient,) = torch.autograd.grad(last, input, fixed_direction(last, last.shape))
    norms = gradient.flatten(1).double().norm(dim=1)
    first, final = float(norms[0]), float(norms[-1])
    if not 0 < first < float("inf") or not 0 < final < float("inf"):
        return Readings(missing={"gradient_factor": "the gradient is too small or too large for its type"})
    return Readings({"gradient_factor": (first / final) ** (1 / (len(norms) - 1))})


def _why_not(built: Built) -> str:
    workload = built.case.workload
    if workload.phase == "inference":
        return "inference takes no gradient"
    if built.case.implementation in GRAPH_BACKENDS:
        return "a compiled or recorded graph has no gradient of its input; that of `loop` is the same"
    if workload.task not in ONE_PASS or workload.bidirectional or workload.lengths == "varied":
        return "it needs the task many_to_many or many_to_one, one direction and equal lengths"
    if workload.seq_len < 2:
        return "there is no step before a single one"
    if not built.input.is_floating_point():
        return f"the input {workload.input} has no gradient"
    return ""

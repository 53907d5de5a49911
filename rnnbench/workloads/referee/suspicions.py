"""What makes a case suspect though its outputs agree with its reference's: it does less work, or less precise work."""

import copy
from functools import partial

import torch
from torch import Tensor, nn

from rnnbench.cells import is_own
from rnnbench.cells.parity import ROUNDOFF, relative_error
from rnnbench.cells.precision import convert, in_precision
from rnnbench.cells.states import State, each_tensor
from rnnbench.store.records import DType, Workload
from rnnbench.workloads import macs
from rnnbench.workloads.phases import MODES
from rnnbench.workloads.prepare import Built
from rnnbench.workloads.referee.agreement import comparable, in_layer_form

MIN_MACS_SHARE = 0.5  # of the multiply-accumulates that the reference needs
# A case's error over its reference's, both against float64. rnnbench's own cells reach 2 on a CPU, at hidden sizes of 4
# to 256 and up to 500 steps, in float32 and float16.
MAX_ERROR_RATIO = 30.0
# Types in which a narrower one shows: float64 has no wider type to compare with, and TF32 is narrow where it is used.
JUDGED: tuple[DType, ...] = ("float32", "float16")


def of_case(built: Built, counted_macs: int | None) -> str:
    """Why a case that agrees with its reference is suspect; empty if it is not.

    `counted_macs`: the multiply-accumulates of one call; None if they are not known.
    """
    if built.case.is_reference or built.unequal:
        return ""
    return "; ".join(filter(None, [_too_few(built, counted_macs), _imprecise(built)]))


def _too_few(built: Built, counted: int | None) -> str:
    needed = macs.of_call(built.reference, built.case.workload)
    if counted is None or not needed or counted >= MIN_MACS_SHARE * needed:
        return ""
    return f"torch shows {counted / needed:.0%} of the multiply-accumulates that the reference needs"


def _imprecise(built: Built) -> str:
    workload = built.case.workload
    if workload.dtype not in JUDGED or not is_own(built.case.cell):
        return ""
    ratio = error_ratio(built)
    if ratio <= MAX_ERROR_RATIO:
        return ""
    return f"computes with less precision than {workload.dtype}: its error is {ratio:,.0f} times the reference's"


def error_ratio(built: Built) -> float:
    """The error of a case's output over that of its reference, both against the reference in float64.

    An error below the type's own rounding counts as that, since it is small by chance.
    """
    workload = built.case.workload
    candidate = in_layer_form(built.model, built.runner() if built.is_of_cells else built.model)
    reference_model = in_layer_form(built.reference, built.reference)
    takes_gradients = workload.phase != "inference"
    wide = partial(in_precision, dtype=torch.float64)
    with comparable(built.model, takes_gradients), comparable(built.reference, takes_gradients):
        wide_model = copy.deepcopy(reference_model)
        convert(wide_model, workload.device, torch.float64)
        input, state = wide(built.input), each_tensor(built.layer_state, wide)
        exact = _output(wide_model, workload, input, state)
        own, reference = (
            relative_error(_output(model, workload, built.input, built.layer_state), exact)
            for model in (candidate, reference_model)
        )
    return own / max(reference, ROUNDOFF[workload.dtype])


def _output(model: nn.Module, workload: Workload, input: Tensor, state: State) -> Tensor:
    """The output of a forward pass in the autograd mode of the phase, for which code may be compiled."""
    with MODES.get(workload.phase, torch.enable_grad)():
        output: Tensor = model(input, state)[0]
    return output.detach()

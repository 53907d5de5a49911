"""The call to be profiled: of a built case of a suite, or of a module in the user's process."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from rnnbench.harness import devices
from rnnbench.harness.live.live_cases import LiveCase, is_torchs, with_gradients
from rnnbench.harness.live.live_cases import timed_call as live_call
from rnnbench.store.implementations import GRAPH_BACKENDS
from rnnbench.store.records import (
    Phase,
)
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.phases import TimedCall, timed_call
from rnnbench.workloads.prepare import Built

NO_OPERATORS = "compiled code calls its kernels without operators"
SCRIPTED = "rnnbench can't look inside TorchScript; profile the module before `torch.jit.script` to see its operators"


@dataclass(frozen=True)
class ProfiledCall:
    """A call to be profiled: of a built case, or of a module in the user's process."""

    name: str
    device: devices.Device
    parts: dict[str, TimedCall]  # the `call`, and its first part (`forward`) or two (`forward_backward`) if it has more
    parameters: list[nn.Parameter]
    steps: int | None = None  # of the sequence; None if they must be found from the program
    opaque: str = ""  # why its operators are not visible: it is compiled, or a recording
    may_have_causes: bool = True  # it is a user's or a cell's code, not torch's own layer


def of_built(built: Built, device: devices.Device) -> ProfiledCall:
    """Return the call of a case of a suite; raises Skip for an epoch."""
    case = built.case
    workload = built.case.workload
    if workload.phase == "epoch":
        raise Skip("an epoch can't be profiled as one call; profile the phases `step` and `loading` separately")
    parts = {"call": built.timed_call()}
    if workload.phase != "inference":
        runner = built.runner()
        parts["forward"] = TimedCall(lambda: runner(built.input, built.state), torch.enable_grad)
    if workload.phase == "step":
        parts["forward_backward"] = timed_call(
            replace(workload, phase="training"), built.runner(), [built.input], built.state
        )
    opaque = hidden(built.model)
    may_have_causes = built.is_of_cells or case.implementation == "sequence"
    if backend := GRAPH_BACKENDS.get(case.implementation):
        opaque = f"{case.implementation} code calls its kernels without operators ({backend})"
    parameters = list(built.model.parameters())
    return ProfiledCall(case.key, device, parts, parameters, workload.seq_len, opaque, may_have_causes)


def of_live(
    case: LiveCase, timed: TimedCall, phase: Phase, device: devices.Device, put_back: ExitStack
) -> ProfiledCall:
    """Return the call of a module or function of the user's process; `timed` is that call in the phase."""
    parts = {"call": timed}
    if phase != "inference":
        parts["forward"] = TimedCall(partial(case.run, *case.args), with_gradients)
    if phase == "step":
        parts["forward_backward"] = live_call(case, "training", put_back)
    opaque = hidden(case.run)
    may_have_causes = not is_torchs(case.run)
    return ProfiledCall(case.name, device, parts, case.parameters(), opaque=opaque, may_have_causes=may_have_causes)


def hidden(run: Callable[..., object]) -> str:
    """Say why a module's or function's operators, or a part's, can't be seen; empty if they can."""
    for part in run.modules() if isinstance(run, nn.Module) else [run]:
        if isinstance(part, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            return SCRIPTED
        if type(part).__name__ == "OptimizedModule" or hasattr(part, "_torchdynamo_orig_callable"):
            return NO_OPERATORS
    return ""

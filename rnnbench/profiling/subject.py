"""The call to be profiled: of a built case, or of a module in the user's process."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from rnnbench.harness.devices import Device
from rnnbench.harness.live.cases import LiveCase, is_torchs, with_gradients
from rnnbench.harness.live.cases import timed_call as live_call
from rnnbench.store.records import GRAPH_BACKENDS, Phase
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.phases import TimedCall, timed_call
from rnnbench.workloads.prepare import Built

COMPILED = "compiled code calls its kernels without operators"
SCRIPTED = "rnnbench can't look inside TorchScript; profile the module before `torch.jit.script` to see its operators"


@dataclass(frozen=True)
class ProfiledCall:
    """A call to be profiled, with its parts."""

    name: str
    device: Device
    call: TimedCall
    forward: TimedCall | None = None  # the first part of the call; None if the call is only a forward
    forward_backward: TimedCall | None = None  # the first two parts; None if there is no third part
    drop_gradients: Callable[[], object] = lambda: None  # drops the gradients that a call leaves
    steps: int | None = None  # of the sequence; None if they must be found from the program
    opaque: str = ""  # why its operators are not visible: it is compiled, or a recording
    own: bool = True  # whether to look for causes: it is a user's or a cell's code, not torch's own layer

    @property
    def trained(self) -> bool:
        """Whether gradients are computed."""
        return self.forward is not None


def of_built(built: Built, device: Device) -> ProfiledCall:
    """The call of a case of a suite; raises Skip for an epoch."""
    case, workload = built.case, built.case.workload
    if workload.phase == "epoch":
        raise Skip("an epoch can't be profiled as one call; profile the phases `step` and `loading` separately")
    forward = forward_backward = None
    if workload.phase != "inference":
        runner = built.runner()
        forward = TimedCall(lambda: runner(built.input, built.state), torch.enable_grad)
    if workload.phase == "step":
        forward_backward = timed_call("training", built.runner(), [built.input], built.state, built.output_shape)
    backend = GRAPH_BACKENDS.get(case.implementation, "")
    return ProfiledCall(
        case.key,
        device,
        built.timed_call(),
        forward,
        forward_backward,
        drop_gradients=lambda: built.model.zero_grad(set_to_none=True),
        steps=workload.seq_len,
        opaque=f"{case.implementation} code calls its kernels without operators ({backend})"
        if backend
        else hidden(built.model),
        own=built.is_of_cells or case.implementation == "sequence",
    )


def of_live(case: LiveCase, timed: TimedCall, phase: Phase, device: Device, put_back: ExitStack) -> ProfiledCall:
    """The call of a module or function of the user's process; `timed` is that call in the phase."""
    forward = forward_backward = None
    if phase != "inference":
        forward = TimedCall(partial(case.run, *case.args), with_gradients)
    if phase == "step":
        forward_backward = live_call(case, "training", put_back)

    def drop_gradients() -> None:
        for parameter in case.parameters():
            parameter.grad = None

    return ProfiledCall(
        case.name,
        device,
        timed,
        forward,
        forward_backward,
        drop_gradients,
        opaque=hidden(case.run),
        own=not is_torchs(case.run),
    )


def hidden(run: Callable[..., object]) -> str:
    """Why a module's or function's operators, or a part's, can't be seen; empty if they can."""
    for part in run.modules() if isinstance(run, nn.Module) else [run]:
        if isinstance(part, torch.jit.ScriptModule | torch.jit.ScriptFunction):
            return SCRIPTED
        if type(part).__name__ == "OptimizedModule" or hasattr(part, "_torchdynamo_orig_callable"):
            return COMPILED
    return ""

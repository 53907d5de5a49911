"""Whether a way to run a module computes what the module computes, and can be used at all."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells.parity import TOLERANCES, ComparedTensors, ReferenceRun, Sums, allowed, errors
from rnnbench.cells.states import BATCHED, State, leaves
from rnnbench.harness.fastest.run_module import Kind
from rnnbench.harness.fastest.ways import ALONE, AS_GIVEN, WayName, way
from rnnbench.harness.live.calls import with_gradients
from rnnbench.raised import ending, is_interrupt
from rnnbench.text import error_in_words, plural
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.referee.agreement import ParityError, check_parity_errors


@dataclass(frozen=True)
class RunSubject:
    """A module with one of its inputs."""

    module: nn.Module
    kind: Kind
    input: Tensor  # (seq, batch, ...)
    state: State  # as torch.nn's layers take it; None if the module makes its own

    def run(self, name: WayName) -> tuple[Tensor, State]:
        """Run the module in a way."""
        return way(self.kind, name)(self.module, self.input, self.state)


class AsModule(nn.Module):
    """A subject in one way, as a module for the parity check."""

    def __init__(self, subject: RunSubject, name: WayName) -> None:
        super().__init__()
        self.module = subject.module
        self.kind = subject.kind
        self.name = name
        self.has_state = subject.state is not None
        self.types: list[torch.dtype] = []  # of what the last call returned

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the module; without a state of its own, what is given for one is ignored."""
        outputs, final = way(self.kind, self.name)(self.module, input, state if self.has_state else None)
        if final is ALONE:
            final = ()
        self.types = [outputs.dtype, *(part.dtype for part in (leaves(final) if self.has_state else ()))]
        return outputs, final


def varies(subject: RunSubject) -> str:
    """Why outputs can't be compared: two calls with the same input give different ones; empty if they are equal."""
    with torch.no_grad():
        first, second = (_outputs(subject.run(AS_GIVEN)).clone() for _ in range(2))
    if torch.equal(first, second):
        return ""
    return "two calls with the same input give different outputs: it draws random numbers or keeps a state"


def _outputs(result: tuple[Any, State]) -> Tensor:
    """The outputs of what a way returns; raises ValueError if they are no tensor of a batch of sequences."""
    outputs, final = result
    if isinstance(outputs, Tensor) and (final is ALONE or outputs.dim() >= BATCHED):
        return outputs
    found = f"a tensor of shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
    raise ValueError(
        f"module: a call returns {found}; expected outputs, or (outputs, state) as torch.nn's layers return it, "
        "or a cell (`cell(input, state) -> state`)"
    )


def why_not(subject: RunSubject, name: WayName, phase: str) -> str:
    """Why a way can't be used: it fails, or does not compute what the module computes; empty if it can."""
    from torch._dynamo.utils import counters

    try:
        if name in ("compiled", "prepacked"):
            compiled.check(str(subject.input.device), name)
            counters.clear()
        _check_parity(subject, name, phase)
        breaks = sum(counters["graph_break"].values())
        is_anew = not breaks and _compiles_anew(subject, name, phase)
        counters.clear()
    except (Skip, ParityError) as reason:
        return str(reason)
    except (SystemExit, KeyboardInterrupt) as end:
        if is_interrupt(end):
            raise
        return ending(end, "the module")
    except Exception as error:
        return error_in_words(error)
    if is_anew:
        return "it would be compiled again in each call: something that its code depends on changes, such as a counter"
    return f"torch.compile splits it into several graphs: {plural(breaks, 'graph break')}" if breaks else ""


def _compiles_anew(subject: RunSubject, name: WayName, phase: str) -> bool:
    """Whether each call of a way is compiled again; the first of two may have reason to, after other calls."""
    from torch._dynamo.utils import counters

    graphs = []
    with torch.inference_mode() if phase == "inference" else with_gradients():
        for _ in range(2):
            subject.run(name)
            graphs.append(counters["stats"]["unique_graphs"])
    return graphs[1] > graphs[0]


def _check_parity(subject: RunSubject, name: WayName, phase: str) -> None:
    """Compare outputs, final states and, in training, the gradients of all parameters; raises ParityError."""
    reference = AsModule(replace(subject, module=deepcopy(subject.module)), AS_GIVEN)
    candidate = AsModule(subject, name)
    state = subject.input.new_zeros(0) if subject.state is None else subject.state
    compared = ComparedTensors("parameters" if phase == "training" else "none", final_state=subject.state is not None)
    run = ReferenceRun.of(reference, subject.input, state, compared)
    found = errors(candidate, run, dict, subject.input, state)
    if candidate.types != reference.types:
        raise ParityError(f"it returns {_types(candidate)}, but the given module returns {_types(reference)}")
    kind = subject.input.device.type
    counted = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else reference.types[0]
    tolerance_of: Any = str(counted).removeprefix("torch.")
    if tolerance_of not in TOLERANCES:
        raise ParityError(f"no tolerance is known for {tolerance_of}")
    steps, batch = subject.input.shape[:2]
    hidden = leaves(subject.state)[0].shape[-1] if subject.state is not None else 1
    sums = Sums(steps, batch, hidden, hidden)
    check_parity_errors(found, {name: allowed(name, tolerance_of, sums) for name in found}, "the given module's")


def _types(module: AsModule) -> str:
    """The types of the outputs and the states of a module's last call."""
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in module.types)

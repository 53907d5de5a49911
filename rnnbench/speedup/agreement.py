"""Whether a way computes what the module computes, and works at all: outputs, final states and gradients."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from rnnbench.adapt.contract import on_trial
from rnnbench.adapt.kinds import RunModule
from rnnbench.cells.states import BATCHED, State, leaves
from rnnbench.harness.live.live_cases import with_gradients
from rnnbench.harness.live.live_parity import rounded_to
from rnnbench.speedup.ways import (
    ALONE,
    AS_GIVEN,
    COMPILED,
    INFERENCE_STEPS,
    TRAINING_STEPS,
    WayName,
    by_step,
    run_in_way,
)
from rnnbench.store.metrics import Unavailable
from rnnbench.store.records import Phase
from rnnbench.text import ending, plural
from rnnbench.workloads import compiled
from rnnbench.workloads.counts import operator_calls
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.parity import TOLERANCES, Gradients, ParityError, check_errors, errors, relative_error
from rnnbench.workloads.phases import TimedCall, fixed_direction
from rnnbench.workloads.processor import why_unable

COMPILED_AGAIN = (
    "it would be compiled again in each call: something that its code depends on changes, such as a counter"
)
# Of the gradient of the output in two backward passes: unlike, else twice the second would pass for the sum.
FIRST_SHARE = 1.0
SECOND_SHARE = 3.0
ACCUMULATION_ERROR = 0.1  # relative; a sum that lacks the first pass is off by a quarter or more


@dataclass(frozen=True)
class RunSubject:
    """A module with one of its inputs, in a phase."""

    run: RunModule
    input: Tensor  # (seq, batch, ...)
    state: State  # as torch.nn's layers take it; None if the module makes its own
    args: tuple[Any, ...]  # of a call of the user's: the input in the module's own layout, and the state if it is given
    phase: Phase
    errors: dict[str, float] = field(default_factory=dict)  # the largest relative error of each way that was compared

    @property
    def batch(self) -> Tensor:
        """The input without a first step that the module takes without a state, since all ways take it alike."""
        is_begun = len(self.input) == 1 or len(self.args) > 1 or not self.run.begins_itself(None)
        return self.input if is_begun else self.input[1:]

    def call(self, name: WayName, steps: int | None = None) -> tuple[Tensor, State]:
        """Run the module in a way, over the first steps of `batch` if their number is given."""
        return run_in_way(self.run, name, by_step(self.run, self.batch[:steps]), self.state)

    def operators(self) -> int:
        """Count the operators of the piece of a call that is compiled at once."""
        steps = {"inference": INFERENCE_STEPS, "training": TRAINING_STEPS}[self.phase]
        piece = None if self.run.kind == "sequence" else steps
        eager: WayName = "hoisted" if self.run.kind == "layer" else AS_GIVEN
        return operator_calls(TimedCall(lambda: self.call(eager, piece), torch.no_grad))


def varies(subject: RunSubject) -> str:
    """Return why outputs can't be compared: two calls with one input give different ones; empty if they are equal.

    Raises ValueError if a call returns no tensor of a batch of sequences.
    """
    with torch.no_grad():
        (outputs, final), (again, _) = (tree_map_only(Tensor, Tensor.clone, subject.call(AS_GIVEN)) for _ in range(2))
    if not isinstance(outputs, Tensor) or (final is not ALONE and outputs.dim() < BATCHED):
        raise ValueError(
            f"module: a call returns {tuple(getattr(outputs, 'shape', ())) or type(outputs).__name__}; expected "
            "outputs, or (outputs, state) as torch.nn's layers return it, or a cell (`cell(input, state) -> state`)"
        )
    if torch.equal(outputs, again):
        return ""
    return "two calls with the same input give different outputs: it draws random numbers or keeps a state"


def why_not(subject: RunSubject, name: WayName) -> str:
    """Return why a way can't be used: it fails, or does not compute what the module computes; empty if it can."""
    from torch._dynamo.utils import counters

    try:
        if name in COMPILED:
            compiled.check(str(subject.input.device))
        counters.clear()  # the process may have compiled something else
        _check_parity(subject, name)
        if subject.phase == "training":
            with with_gradients():
                _check_accumulation(subject, name)
        if breaks := sum(counters["graph_break"].values()):
            return f"torch.compile splits it into several graphs: {plural(breaks, 'graph break')}"
        graphs = []
        with torch.inference_mode() if subject.phase == "inference" else with_gradients():
            for _ in range(2):  # the first may have reason to be compiled again, after other calls
                subject.call(name)
                graphs.append(counters["stats"]["unique_graphs"])
    except (Skip, ParityError, Unavailable) as reason:
        return str(reason)
    except (Exception, SystemExit) as error:
        return why_unable(error) or ending(error, "the module")
    return COMPILED_AGAIN if graphs[1] > graphs[0] else ""


def _check_accumulation(subject: RunSubject, name: WayName) -> None:
    """Check that a backward pass adds its gradients to those of the pass before; raises ParityError.

    Gradients in memory that the way uses again, as that of a CUDA graph, are lost before anything is added to them.
    """
    at_once = _gradients(subject, name, (FIRST_SHARE + SECOND_SHARE,))
    added = _gradients(subject, name, (FIRST_SHARE, SECOND_SHARE))
    for path, expected in at_once.items():
        if relative_error(added[path], expected) > ACCUMULATION_ERROR:
            raise ParityError(f"a second backward pass does not add to the gradient of {path}: it replaces the first")


def _gradients(subject: RunSubject, name: WayName, shares: Sequence[float]) -> dict[str, Tensor]:
    """Return the gradients of parameters after backward passes from these multiples of one gradient of the output."""
    module = subject.run.module
    module.zero_grad(set_to_none=True)
    for share in shares:
        outputs, _ = subject.call(name)
        torch.autograd.backward(outputs, share * fixed_direction(outputs, outputs.shape))
    gradients = {path: each.grad.clone() for path, each in module.named_parameters() if each.grad is not None}
    module.zero_grad(set_to_none=True)
    return gradients


def _check_parity(subject: RunSubject, name: Any) -> None:
    """Compare outputs, final states and, in training, the gradients of all parameters; raises ParityError."""
    types: list[list[torch.dtype]] = []  # of what a call in each way returned
    has_state = subject.state is not None

    def run(subject: RunSubject, name: Any, *_: object) -> tuple[Tensor, State]:
        outputs, final = subject.call(name)
        final = () if final is ALONE else final
        types.append([outputs.dtype, *(part.dtype for part in (leaves(final) if has_state else ()))])
        return outputs, final

    reference = replace(subject, run=replace(subject.run, module=on_trial(subject.run.module)))
    ways: Any = (subject, name), (reference, AS_GIVEN)
    candidate, expected = ((side.run.module, partial(run, side, way)) for side, way in ways)
    gradients: Gradients = "parameters" if subject.phase == "training" else "none"
    relative = errors(candidate, expected, dict, subject.input, (), gradients=gradients, final_state=has_state)
    subject.errors[name] = max(relative.values())
    if types[0] != types[1]:
        of_way, of_module = (", ".join(str(dtype)[6:] for dtype in of_side) for of_side in types)
        raise ParityError(f"it returns {of_way}, but the given module returns {of_module}")
    kind = subject.input.device.type
    counted = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else types[0][0]
    tolerance_of: Any = rounded_to(counted, str(subject.input.device))
    if tolerance_of not in TOLERANCES:
        raise ParityError(f"no tolerance is known for {tolerance_of}")
    steps, batch = subject.input.shape[:2]
    hidden = leaves(subject.state)[0].shape[-1] if has_state else 1
    check_errors(relative, tolerance_of, "the given module's", steps=steps, batch=batch, hidden=hidden, output=hidden)

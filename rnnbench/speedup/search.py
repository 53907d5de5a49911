"""Find the fastest way to run a recurrent module at each shape.

The module is the user's (`rnnbench.fastest(...)`), or one that a suite's cases name (`rnnbench fastest SUITE`).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from rnnbench.adapt.contract import construct
from rnnbench.adapt.kinds import RunModule, reads_batch_first, run_module, why_only_as_given
from rnnbench.adapt.states import copied, on_trial, rebuilt
from rnnbench.analysis.estimate import as_ratio, estimate_columns
from rnnbench.cells import CellError, load, spec
from rnnbench.cells.parity import TOLERANCES, Gradients, allowed, errors
from rnnbench.cells.states import BATCHED, State, convert, leaves
from rnnbench.errors import UserError
from rnnbench.harness import devices
from rnnbench.harness.live.cases import LiveCase, rounded_to, timed_call, with_gradients
from rnnbench.harness.live.loop import LiveTurns, named
from rnnbench.harness.live.put_back import calls_on_trial, keep_process, keep_tensors
from rnnbench.harness.live.stop import Fastest
from rnnbench.harness.turns.progress import Progress
from rnnbench.raised import ending, place
from rnnbench.speedup.module import CallShape, RunInWays, ways_table
from rnnbench.speedup.ways import (
    ALONE,
    AS_GIVEN,
    COMPILED,
    INFERENCE_STEPS,
    TRAINING_STEPS,
    WayName,
    names,
    way,
)
from rnnbench.store.records import Case, Phase, Workload
from rnnbench.text import as_budget, error_in_words, first_line, plural, rounded_up
from rnnbench.workloads import compiled
from rnnbench.workloads.calls import operator_calls
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import torch_dtype
from rnnbench.workloads.referee import ParityError, check_tolerances

PHASES: tuple[Phase, ...] = ("inference", "training")
TF32 = "it agrees within TF32's precision, since torch's settings let this device round float32 to it"


@dataclass(frozen=True)
class RunSubject:
    """A module with one of its inputs, in a phase."""

    run: RunModule
    input: Tensor  # (seq, batch, ...)
    state: State  # as torch.nn's layers take it; None if the module makes its own
    phase: Phase
    is_given: bool  # whether calls are given the state

    def call(self, name: WayName, input: Tensor | None = None) -> tuple[Tensor, State]:
        """Run the module in a way, over another input if one is given."""
        by = way(self.run.kind, name, self.run.is_batch_first)
        return by(self.run.module, self.input if input is None else input, self.state)


def find(
    module: nn.Module,
    input: Any,
    phase: Phase,
    shapes: Iterable[Sequence[int]] | None,
    budget_seconds: float,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[RunModule, pd.DataFrame]:
    """Measure the ways to run a module; see `rnnbench.fastest`. Raises TypeError and ValueError for other arguments."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: expected a torch module, found {type(module).__name__}")
    if phase not in PHASES:
        raise ValueError(f"phase: expected one of {', '.join(PHASES)}, found {phase!r}")
    deadline = time.monotonic() + budget_seconds
    run, first, state = recognised(module, input)
    inputs = [first, *_others(shapes, first, turns=run.is_batch_first)]
    rows: list[dict[str, Any]] = []
    for number, given in enumerate(inputs):
        # Zeros at further shapes if a state is given for the first.
        begun = run.zeros(given) if number and state is not None else run.first_state(given, None if number else state)
        begun = begun if begun is None else rebuilt(begun, (part.detach() for part in leaves(begun)))
        # A copy is measured: a call may change more of a module than can be put back.
        subject = RunSubject(replace(run, module=on_trial(run.module)), given, begun, phase, state is not None)
        seconds = max(0.0, deadline - time.monotonic()) / (len(inputs) - number)
        enough = partial(_enough, budget_seconds, len(inputs))
        rows += _of_shape(subject, time.monotonic() + seconds, enough, on_progress)
    return run, ways_table(rows)


def _enough(budget_seconds: float, shapes: int, compiling: float) -> str:
    """Return the budget to type that holds so many more seconds of compiling at each shape."""
    return as_budget(budget_seconds + 2 * shapes * compiling)


def recognised(module: nn.Module, input: Any) -> tuple[RunModule, Tensor, State]:
    """Return the module as ways run it, and the input (seq, batch, features) and the state of a call of the user's."""
    module = module._given if isinstance(module, RunInWays) else module
    given, state = input if isinstance(input, tuple) and len(input) == 2 else (input, None)
    if not isinstance(given, Tensor) or given.dim() < (BATCHED if given.is_floating_point() else BATCHED - 1):
        what = f"a tensor of shape {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
        raise ValueError(
            f"input: expected (seq, batch, features), whole numbers (seq, batch), or (input, state); found {what}"
        )
    if not given.numel():
        raise ValueError(f"input: expected sizes of 1 or more, found {tuple(given.shape)}")
    if reason := devices.why_not(str(given.device)):
        raise ValueError(f"input: {reason}")
    with calls_on_trial():
        trial, begun = given.detach().clone(), copied(state)
        turns = bool(reads_batch_first(module, trial, *(() if state is None else (begun,))))
        run = run_module(module, trial.transpose(0, 1) if turns else trial, begun)
    return replace(run, is_batch_first=turns), given.transpose(0, 1) if turns else given, state


def _others(shapes: Iterable[Sequence[int]] | None, like: Tensor, *, turns: bool) -> list[Tensor]:
    """Random inputs (seq, batch, features) of more shapes, which are given in the module's own layout."""
    made = []
    generator = torch.Generator(device=like.device).manual_seed(0)  # the user's own stays as it is
    for shape in shapes or ():
        sizes = list(shape)
        if not (2 <= len(sizes) <= BATCHED and all(isinstance(size, int) and size > 0 for size in sizes)):
            raise ValueError(f"shapes: expected (seq, batch) or (seq, batch, features), each 1 or more; found {sizes}")
        first, second, *features = sizes
        if features and features != list(like.shape[2:]):
            raise ValueError(f"shapes: the input has {like.shape[-1]} features, found {sizes}")
        steps, batch = (second, first) if turns else (first, second)
        sizes, device = [steps, batch, *like.shape[2:]], like.device
        if like.is_floating_point():
            made.append(torch.randn(sizes, dtype=like.dtype, device=device, generator=generator))
        else:  # numbers that the module takes
            made.append(like.flatten()[torch.randint(like.numel(), sizes, device=device, generator=generator)])
    return made


def _of_shape(
    subject: RunSubject,
    deadline: float,
    enough: Callable[[float], str],
    on_progress: Callable[[Progress], None],
) -> list[dict[str, Any]]:
    """Compare and time all ways at one shape, and restore everything that is changed in this process.

    Each way is timed in the module that is handed back for it, with all that this does around the way. `enough` returns
    the budget that holds so many seconds of compiling.
    """
    run, shape = subject.run, asdict(CallShape.of(subject.input, subject.phase))
    input = subject.input.transpose(0, 1) if run.is_batch_first else subject.input
    state = (subject.state,) if subject.is_given and subject.state is not None else ()
    rows: dict[str, dict[str, Any]] = {}
    calls: dict[str, TimedCall] = {}
    with ExitStack() as put_back:
        keep_process(put_back)
        keep_tensors(run.module, put_back)  # of one that can't be copied
        of_all = why_only_as_given(run.module, run.kind) or varies(subject)
        for name in names(run, subject.input, subject.state):
            reason = "" if name == AS_GIVEN else of_all or _why_not(subject, name, deadline, enough, on_progress)
            rows[name] = {**shape, "way": name, "is_chosen": not reason and not calls, "reason": reason}
            if not reason:
                is_plain = name == AS_GIVEN and run.kind != "cell"
                handed_back = run.given if is_plain else RunInWays(run, ways_table([{**shape, "way": name}]))
                case = LiveCase(name, handed_back, (input, *state))
                with named(name):
                    calls[name] = timed_call(case, subject.phase, put_back)
        if len(calls) == 1:
            return [*rows.values()]
        stop, turns = Fastest(list(calls)), LiveTurns(devices.open_device(str(input.device)), calls)
        turns.until(stop, deadline, on_progress)
        if turns.interrupted:
            raise KeyboardInterrupt
    stop.leave_out_slower()
    fastest = stop.fastest()
    for each, times in stop.times.items():
        ratio = as_ratio(stop.log_ratio(each, AS_GIVEN))
        rows[each] |= {
            "seconds": median(one.median for one in times),
            **estimate_columns("ratio", ratio),
            "rounds": len(times),
            "is_chosen": each == fastest,
            "is_sure": stop.is_sure or each != fastest,
        }
    if fastest != AS_GIVEN and rounded_to(subject.input.dtype, str(input.device)) == "tf32":
        rows[fastest]["reason"] = TF32
    return [*rows.values()]


START_SECONDS, FIRST_SECONDS = 3.0, 10.0  # of a compilation on an idle machine, and more for the first of a process
OPERATOR_SECONDS = {"inference": 0.0035, "training": 0.007}  # more for each operator
TUNING = 4  # times as long is compiled where kernels are tried
COMPILING_SHARE = 0.75  # of what is left of the budget; the rest is for the clock
PACES = [1.0]  # how many times as long as expected each compilation of this process took


def _why_not(
    subject: RunSubject,
    name: WayName,
    deadline: float,
    enough: Callable[[float], str],
    on_progress: Callable[[Progress], None],
) -> str:
    """Return why a way can't be used, or can't be compiled before the deadline; empty if it can."""
    if name not in COMPILED:
        return why_not(subject, name)
    expected, started = _compiling_seconds(subject, name), time.monotonic()
    seconds = expected * PACES[-1]
    if seconds > COMPILING_SHARE * (deadline - started):
        return (
            f"compiling it takes about {rounded_up(seconds)} on this machine now, which the budget does not hold; "
            f"give budget='{enough(seconds)}'"
        )
    on_progress(Progress(0, 0, 1, seconds, stage=f"compiling ({name})"))
    reason = why_not(subject, name)
    PACES.append((time.monotonic() - started) / expected)
    return reason


def _compiling_seconds(subject: RunSubject, name: WayName) -> float:
    """Estimate how long a way is compiled on an idle machine, by the operators of the piece that is compiled."""
    steps = {"inference": INFERENCE_STEPS, "training": TRAINING_STEPS}[subject.phase]
    piece = subject.input if subject.run.kind == "sequence" else subject.input[:steps]
    eager: WayName = "hoisted" if subject.run.kind == "layer" else AS_GIVEN
    operators = operator_calls(TimedCall(lambda: subject.call(eager, piece), torch.no_grad))
    seconds = START_SECONDS + FIRST_SECONDS * (len(PACES) == 1) + OPERATOR_SECONDS[subject.phase] * operators
    return seconds * (TUNING if name == "max-autotune" else 1)


class AsModule(nn.Module):
    """A subject in one way, as a module for the parity check."""

    def __init__(self, subject: RunSubject, name: WayName) -> None:
        super().__init__()
        self.module = subject.run.module
        self.subject, self.name = subject, name
        self.types: list[torch.dtype] = []  # of what the last call returned

    def forward(self, input: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the module; without a state of its own, what is given for one is ignored."""
        has_state = self.subject.state is not None
        outputs, final = replace(self.subject, state=state if has_state else None).call(self.name, input)
        final = () if final is ALONE else final
        self.types = [outputs.dtype, *(part.dtype for part in (leaves(final) if has_state else ()))]
        return outputs, final


def varies(subject: RunSubject) -> str:
    """Why outputs can't be compared: two calls with the same input give different ones; empty if they are equal."""
    with torch.no_grad():
        first, second = (_outputs(subject.call(AS_GIVEN)).clone() for _ in range(2))
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


def why_not(subject: RunSubject, name: Any) -> str:
    """Why a way can't be used: it fails, or does not compute what the module computes; empty if it can."""
    from torch._dynamo.utils import counters

    graphs = []
    try:
        if name in COMPILED:
            compiled.check(str(subject.input.device))
        counters.clear()  # the process may have compiled something else
        _check_parity(subject, name)
        breaks = sum(counters["graph_break"].values())
        with torch.inference_mode() if subject.phase == "inference" else with_gradients():
            for _ in range(0 if breaks else 2):  # the first may have reason to be compiled again, after other calls
                subject.call(name)
                graphs.append(counters["stats"]["unique_graphs"])
        counters.clear()
    except (Skip, ParityError) as reason:
        return str(reason)
    except SystemExit as end:
        return ending(end, "the module")
    except Exception as error:
        return error_in_words(error)
    if graphs and graphs[1] > graphs[0]:
        return "it would be compiled again in each call: something that its code depends on changes, such as a counter"
    return f"torch.compile splits it into several graphs: {plural(breaks, 'graph break')}" if breaks else ""


def _check_parity(subject: RunSubject, name: WayName) -> None:
    """Compare outputs, final states and, in training, the gradients of all parameters; raises ParityError."""
    run = replace(subject.run, module=deepcopy(subject.run.module))
    reference = AsModule(replace(subject, run=run), AS_GIVEN)
    candidate = AsModule(subject, name)
    state = subject.input.new_zeros(0) if subject.state is None else subject.state
    gradients: Gradients = "parameters" if subject.phase == "training" else "none"
    sides, has_state = ((candidate, candidate), (reference, reference)), subject.state is not None
    found = errors(*sides, dict, subject.input, state, gradients=gradients, final_state=has_state)
    if candidate.types != reference.types:
        mine, given = (", ".join(str(dtype)[6:] for dtype in side.types) for side in (candidate, reference))
        raise ParityError(f"it returns {mine}, but the given module returns {given}")
    kind = subject.input.device.type
    counted = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else reference.types[0]
    tolerance_of: Any = rounded_to(counted, str(subject.input.device))
    if tolerance_of not in TOLERANCES:
        raise ParityError(f"no tolerance is known for {tolerance_of}")
    steps, batch = subject.input.shape[:2]
    hidden = leaves(subject.state)[0].shape[-1] if subject.state is not None else 1
    sizes = {"steps": steps, "batch": batch, "hidden": hidden, "output": hidden}
    tolerances = {name: allowed(name, tolerance_of, **sizes) for name in found}
    check_tolerances(found, tolerances, tolerance_of, "the given module's")


SIZES = ("input_size", "hidden_size", "num_layers", "bidirectional", "dtype", "device", "threads")  # of a module


@dataclass(frozen=True)
class WantedModule:
    """A module with all sizes fixed, to be run fast in one phase; its shapes are not a part of it."""

    cell: str  # as in the suite, or the name of a layer of torch.nn
    workload: Workload  # of one sequence of one step

    @property
    def title(self) -> str:
        """Return `gru, input size 64, hidden size 256, float32, cpu, 1 thread`."""
        sizes = self.workload
        parts = [self.cell, f"input size {sizes.input_size}", f"hidden size {sizes.hidden_size}"]
        parts += [plural(sizes.num_layers, "layer")] if sizes.num_layers > 1 else []
        parts += ["bidirectional"] if sizes.bidirectional else []
        return ", ".join([*parts, sizes.dtype, sizes.device, plural(sizes.threads, "thread")])

    def build(self, root: Path) -> nn.Module:
        """Return the module with random weights; `root`: the suite's folder. Raises CellError if it can't be built."""
        torch.manual_seed(0)
        sizes, found = self.workload, spec(self.cell, self.workload.reference)
        is_stack = sizes.num_layers > 1 or sizes.bidirectional  # which only layers of torch.nn are
        more = {"num_layers": sizes.num_layers, "bidirectional": sizes.bidirectional} if is_stack else {}
        named = {name: getattr(sizes, name) for name in ("input_size", "hidden_size", "output_size", "batch_size")}
        module = construct(load(found.target, root), named, found.arguments, more)
        convert(module, sizes.device, torch_dtype(sizes.dtype))
        return module.eval() if sizes.phase == "inference" else module

    def input(self, seq_len: int, batch_size: int) -> Tensor:
        """Return a random input (seq, batch, features)."""
        sizes = self.workload
        input = torch.randn(seq_len, batch_size, sizes.input_size, generator=torch.Generator().manual_seed(0))
        return input.to(device=sizes.device, dtype=torch_dtype(sizes.dtype))


def wanted(cases: Iterable[Case]) -> tuple[dict[WantedModule, list[tuple[int, int]]], list[str]]:
    """Return modules with their shapes (seq, batch), and why cases are left out: each reason once."""
    found: dict[WantedModule, dict[tuple[int, int], None]] = {}
    left_out: dict[str, None] = {}
    for case in cases:
        sizes = case.workload
        if reason := _left_out(case):
            left_out[reason] = None
            continue
        fixed = {name: getattr(sizes, name) for name in SIZES}
        one = Workload(sizes.reference, sizes.phase, "many_to_many", batch_size=1, seq_len=1, output_size=1, **fixed)
        found.setdefault(WantedModule(case.cell, one), {})[sizes.seq_len, sizes.batch_size] = None
    return {module: list(shapes) for module, shapes in found.items()}, list(left_out)


def _left_out(case: Case) -> str:
    if case.workload.phase not in PHASES:
        return f"cases of the phase {case.workload.phase}: expected inference or training"
    if case.workload.lengths != "equal":
        return "cases with sequences of varied lengths"
    if not case.is_reference and (case.workload.num_layers > 1 or case.workload.bidirectional):
        return "cases of a cell in several layers or directions: give a module that runs them itself"
    return ""


def find_wanted(
    wanted: WantedModule,
    shapes: Sequence[tuple[int, int]],
    root: Path,
    budget_seconds: float,
    on_progress: Callable[[Progress], None],
) -> pd.DataFrame:
    """Return the ways of a module at its shapes (seq, batch). Raises UserError if it can't be built or run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(wanted.workload.threads)
    first, *others = shapes
    try:
        module = wanted.build(root)
        return find(module, wanted.input(*first), wanted.workload.phase, others, budget_seconds, on_progress)[1]
    except (CellError, RuntimeError, TypeError, ValueError) as fault:
        raise UserError(f"{wanted.title}: {first_line(fault) or type(fault).__name__}") from fault
    except (Exception, SystemExit) as fault:  # whatever a stranger's module raises
        is_end = isinstance(fault, SystemExit)
        said = f"{ending(fault)}; a cell must return, or raise another exception" if is_end else error_in_words(fault)
        raise UserError(f"{wanted.title}: {said}{'' if is_end else place(fault)}") from fault
    finally:
        torch.set_num_threads(threads)

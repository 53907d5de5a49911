"""Find the fastest way to run a recurrent module at each shape.

The module is the user's (`rnnbench.fastest(...)`), or one that a suite's cases name (`rnnbench fastest SUITE`).
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from rnnbench.adapt.contract import on_trial
from rnnbench.adapt.kinds import RunModule, run_module, why_only_as_given
from rnnbench.adapt.order import reads_batch_first
from rnnbench.analysis.estimate import as_ratio, estimate_columns
from rnnbench.cells import CellError, load, spec
from rnnbench.cells.states import BATCHED, State, convert, copied, torch_dtype
from rnnbench.errors import UserError
from rnnbench.harness import devices
from rnnbench.harness.live.live_cases import (
    LiveCase,
    calls_on_trial,
    check_phase,
    keep_process,
    keep_tensors,
    timed_call,
)
from rnnbench.harness.live.live_parity import rounded_to
from rnnbench.harness.live.loop import LiveTurns, named, quiet_core
from rnnbench.harness.live.stops import Fastest
from rnnbench.harness.turns.schedule import Progress
from rnnbench.speedup.agreement import RunSubject, varies, why_not
from rnnbench.speedup.compiling import Compiler, Place, Refusal
from rnnbench.speedup.run_in_ways import RunInWays
from rnnbench.speedup.ways import AS_GIVEN, COMPILED, CallShape, WayName, by_step, possible_ways, row_of, ways_table
from rnnbench.store.implementations import GRAPHED_GRADIENTS
from rnnbench.store.records import Case, Phase, Workload
from rnnbench.text import ending, first_line
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.make_model import make_whole
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.processor import in_plain_words

FastestPhase = Literal["inference", "training"]
PHASES: tuple[Phase, ...] = get_args(FastestPhase)
TF32 = "it agrees within TF32's precision, since torch's settings let this device round float32 to it"
SIZES = ("input_size", "hidden_size", "num_layers", "bidirectional", "nonlinearity", "dtype", "device", "threads")
LEFT_OUT = (
    "cases of other phases than inference and training, of varied lengths, and of a cell in several layers or "
    "directions: give a module that runs these itself"
)


@in_plain_words()
def find(
    module: nn.Module,
    input: Any,
    phase: Phase,
    shapes: Iterable[Sequence[int]] | None,
    budget_seconds: float,
    on_progress: Callable[[Progress], None],
) -> tuple[RunModule, pd.DataFrame]:
    """Measure the ways to run a module; see `rnnbench.fastest`.

    Raises TypeError and ValueError for other arguments, and CannotRun if this processor can't run the module.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: expected a torch module, found {type(module).__name__}")
    check_phase(phase, PHASES)
    deadline = time.monotonic() + budget_seconds
    run, first, state = recognised(module, input)
    inputs = [first, *_others(run, shapes or (), first)]
    rows: list[dict[str, Any]] = []
    for number, given in enumerate(inputs):
        # Zeros at further shapes if a state is given for the first.
        begun = run.zeros(given) if number and state is not None else run.first_state(given, None if number else state)
        begun = tree_map_only(Tensor, Tensor.detach, begun)
        args = (by_step(run, given), *(() if state is None else (begun,)))
        # A copy is measured: a call may change more of a module than can be put back.
        subject = RunSubject(replace(run, module=on_trial(run.module)), given, begun, args, phase)
        seconds = max(0.0, deadline - time.monotonic()) / (len(inputs) - number)
        rows += _of_shape(subject, time.monotonic() + seconds, budget_seconds, len(inputs), on_progress)
    return run, ways_table(rows)


def recognised(module: nn.Module, input: Any) -> tuple[RunModule, Tensor, State]:
    """Return the module as ways run it, and the input (seq, batch, features) and the state of a call of the user's."""
    module = module._run.given if isinstance(module, RunInWays) else module
    given, state = input if isinstance(input, tuple) and len(input) == 2 else (input, None)
    is_tensor = isinstance(given, Tensor)
    if not is_tensor or not given.numel() or given.dim() < (BATCHED if given.is_floating_point() else BATCHED - 1):
        raise ValueError(
            "input: expected (seq, batch, features), whole numbers (seq, batch), or (input, state), with sizes of 1 or "
            f"more; found {tuple(given.shape) if is_tensor else type(given).__name__}"
        )
    if reason := devices.why_not(str(given.device)):
        raise ValueError(f"input: {reason}")
    with calls_on_trial():
        trial = given.detach().clone()
        begun = copied(state)
        turns = bool(reads_batch_first(module, trial, *(() if state is None else (begun,))))
        run = run_module(module, trial.transpose(0, 1) if turns else trial, begun)
    steps = given.transpose(0, 1) if turns else given
    # What a kept module is tried with has its sizes and, if they are whole numbers, its values.
    example = (steps[:1, :1] if steps.is_floating_point() else steps).detach().clone()
    return replace(run, is_batch_first=turns, example=example), steps, state


def _others(run: RunModule, shapes: Iterable[Sequence[int]], like: Tensor) -> Iterator[Tensor]:
    """Yield random inputs (seq, batch, features) of more shapes, which are given in the module's own layout."""
    features = list(like.shape[2:])
    device = like.device
    generator = torch.Generator(device=device).manual_seed(0)  # the user's own stays as it is
    for shape in shapes:
        sizes = [*shape[:2], *features]
        is_known = len(shape) > 1 and list(shape) in (sizes[:2], sizes)
        if not is_known or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(
                f"shapes: expected (seq, batch) or (seq, batch, {', '.join(map(str, features))}), each 1 or more; "
                f"found {list(shape)}"
            )
        if like.is_floating_point():
            made = torch.randn(sizes, dtype=like.dtype, device=device, generator=generator)
        else:  # numbers that the module takes
            made = like.flatten()[torch.randint(like.numel(), sizes, device=device, generator=generator)]
        yield by_step(run, made)


def _of_shape(
    subject: RunSubject,
    deadline: float,
    budget_seconds: float,
    shapes: int,
    on_progress: Callable[[Progress], None],
) -> list[dict[str, Any]]:
    """Compare and time all ways at one shape, and restore everything that is changed in this process.

    Each way is timed in the module that is handed back for it, with all that this does around the way. The budget is
    for this number of shapes.
    """
    run = subject.run
    shape = asdict(CallShape.from_input(subject.input, subject.phase))
    calls: dict[str, TimedCall] = {}
    with ExitStack() as put_back:
        keep_process(put_back)
        keep_tensors(run.module, put_back)  # of one that can't be copied
        compiler = Compiler(
            partial(why_not, subject),
            subject.operators,
            Place(str(subject.input.device), subject.phase),
            deadline=deadline,
            budget_seconds=budget_seconds,
            shapes=shapes,
            on_progress=on_progress,
        )
        refusals = _refusals(subject, compiler)
        rows: dict[str, dict[str, Any]] = {
            name: {**shape, **_untimed_row(subject, name, refusal)} for name, refusal in refusals.items()
        }
        has_tried_all = not any(refusal.is_untried for refusal in refusals.values())
        for name, row in rows.items():
            if not row["reason"]:
                handed_back = RunInWays(run, ways_table([row | {"is_chosen": True}]))
                with named(name):
                    calls[name] = timed_call(LiveCase(name, handed_back, subject.args), subject.phase, put_back)
        if len(calls) == 1:
            rows[AS_GIVEN]["is_sure"] = has_tried_all
            return [*rows.values()]
        device = str(subject.input.device)
        stop = Fastest(list(calls))
        turns = LiveTurns(devices.open_device(device), calls, quiet_core(device, torch.get_num_threads()))
        turns.until(stop, deadline, on_progress)
        if turns.interrupted:
            raise KeyboardInterrupt
    fastest = stop.fastest()
    for each, times in stop.times.items():
        figures = stop.told(each, AS_GIVEN)
        rows[each] |= {
            "seconds": figures.seconds,
            **estimate_columns("ratio", as_ratio(figures.log_ratio)),
            "state": figures.state,
            "replicates": len(times),
            "is_chosen": each == fastest,
            "is_sure": (stop.is_sure and has_tried_all) or each != fastest,
        }
    if fastest != AS_GIVEN and rounded_to(subject.input.dtype, device) == "tf32":
        rows[fastest]["note"] = TF32
    return [*rows.values()]


def _untimed_row(subject: RunSubject, way: WayName, refusal: Refusal) -> dict[str, Any]:
    """Return what is known of a way before it is timed."""
    return {
        "way": way,
        "is_chosen": way == AS_GIVEN,
        "reason": refusal.reason,
        "compile_seconds": refusal.compile_seconds,
        "error": subject.errors.get(way, math.nan),
    }


def _refusals(subject: RunSubject, compiler: Compiler) -> dict[WayName, Refusal]:
    """Return for each way why it is not used, in the order of `possible_ways`; empty if it can be used."""
    faults = possible_ways(subject.run, subject.input, subject.state)
    ways = [name for name, fault in faults.items() if not fault]
    if of_all := why_only_as_given(subject.run.module, subject.run.kind) or varies(subject):
        return {name: Refusal("" if name == AS_GIVEN else of_all) for name in ways}
    refusals = {name: Refusal(fault) for name, fault in faults.items()}
    for name in ways:
        if name != AS_GIVEN and name not in COMPILED:
            refusals[name] = Refusal(why_not(subject, name))
    to_compile = []
    # The last one first: it is usually the fastest, and the budget may hold only one.
    for name in reversed([name for name in ways if name in COMPILED]):
        if row_of(name).is_mode and subject.phase == "training":
            refusals[name] = Refusal(GRAPHED_GRADIENTS)
        else:
            to_compile.append(name)
    of_compiled = compiler.refusals(to_compile)
    return refusals | {name: of_compiled[name] for name in to_compile}


def wanted(cases: Iterable[Case]) -> tuple[dict[Case, list[tuple[int, int]]], str]:
    """Return modules with their shapes (seq, batch), and which cases are left out; empty if none is.

    A module is a case of a single step of a single sequence.
    """
    found: dict[Case, dict[tuple[int, int], None]] = {}
    left_out = ""
    for case in cases:
        sizes = case.workload
        is_one_module = case.is_reference or (sizes.num_layers == 1 and not sizes.bidirectional)
        if is_one_module and sizes.phase in PHASES and sizes.lengths == "equal":
            fixed: dict[str, Any] = {name: getattr(sizes, name) for name in SIZES}
            step = Workload(
                sizes.reference, sizes.phase, "many_to_many", 1, 1, output_size=1, input=sizes.input, **fixed
            )
            found.setdefault(Case(case.cell, "loop", step), {})[sizes.seq_len, sizes.batch_size] = None
        else:
            left_out = LEFT_OUT
    return {module: list(shapes) for module, shapes in found.items()}, left_out


def find_wanted(
    module: Case,
    shapes: Sequence[tuple[int, int]],
    root: Path,
    budget_seconds: float,
    on_progress: Callable[[Progress], None],
) -> tuple[RunModule, pd.DataFrame]:
    """Return a module with random weights, and its ways at its shapes (seq, batch); `root`: the suite's folder.

    Raises UserError if it can't be built or run.
    """
    sizes = module.workload
    (first, *others) = shapes
    with calls_on_trial():
        torch.set_num_threads(sizes.threads)
        torch.manual_seed(0)
        try:
            cell = spec(module.cell, sizes.reference)
            built = make_whole(sizes, cell, load(cell.target, root), sizes.input_shape[0])
            convert(built.train(sizes.phase == "training"), sizes.device, torch_dtype(sizes.dtype))
            if sizes.reads_tokens:
                input = torch.randint(sizes.input_shape[0], first, device=sizes.device)
            else:
                values = torch.randn(*first, *sizes.input_shape)
                input = values.to(device=sizes.device, dtype=torch_dtype(sizes.dtype))
            return find(built, input, sizes.phase, others, budget_seconds, on_progress)
        except (Exception, SystemExit) as fault:  # whatever a stranger's module raises
            is_said = isinstance(fault, CellError | RuntimeError | Skip | ValueError)
            raise UserError(first_line(fault) if is_said else ending(fault)) from fault

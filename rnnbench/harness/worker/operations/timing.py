"""The operations that time the cases of a group: prepared, called in turns, verified and forgotten."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, groupby
from operator import itemgetter
from pathlib import Path

import torch

from rnnbench.harness import devices
from rnnbench.harness.devices import Clocked
from rnnbench.harness.machine import global_state
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.machine.quiet_core import QuietCore
from rnnbench.harness.protocol import Reply, Request
from rnnbench.harness.turns.schedule import ENOUGH_QUIET_BLOCKS, Turns, calibrate, plan_window, warm_up
from rnnbench.harness.worker.left_running import no_threads_left
from rnnbench.harness.worker.prepared_case import PreparedCase
from rnnbench.harness.worker.state import WorkerState
from rnnbench.harness.worker.table import operation
from rnnbench.store.records import Case
from rnnbench.workloads import parity
from rnnbench.workloads.make_model import built_by
from rnnbench.workloads.prepare import Built, build, reference_case

NO_CASE = -1  # in place of the number of the case in turn
TOKEN = b"t"  # which two workers hand each other when the other's turns begin
MAX_PADDING_LINES = 256  # of 64 bytes, a cache line


@operation("prepare")
def prepare(state: WorkerState, request: Request) -> Reply:
    """Build a case, calibrate it unless the seconds of a call are known, and warm it up."""
    # Allocates a random size before the case's own memory, so that its addresses differ from process to process.
    padding = torch.empty(64 * state.layout.randrange(1, MAX_PADDING_LINES), dtype=torch.uint8)
    built = state.build(request)
    case = built.case
    device = devices.open_device(case.workload.device)
    timed = built.timed_call()
    window_seconds = request["window_seconds"]
    seconds_before = request["call_seconds"]
    is_cold = case.workload.caches == "cold"
    single_calls = case.workload.waits_for_each_call
    with timed.mode(), no_threads_left(case):
        if seconds_before is None or is_cold:
            plan = calibrate(device, timed.call, window_seconds, cold=is_cold, single_calls=single_calls)
        else:
            plan = plan_window(seconds_before, window_seconds, device.blocks, single_calls=single_calls)
        warmup_windows = warm_up(device, timed.call, plan, cold=is_cold)
        flushed = device.clock_cold(timed.call, 1) if is_cold else None
    state.take_over()  # what its first calls have set holds for the next ones, too
    changed = {name: value for name, value in state.settings.items() if value != state.place_settings[name]}
    without_reference = replace(built, reference=built.model) if isinstance(built, Built) else built
    state.prepared[case.key] = PreparedCase(without_reference, device, timed, padding, changed)
    call_seconds = plan.seconds / plan.calls
    wall_seconds = call_seconds if flushed is None else max(call_seconds, flushed.host_seconds)
    return {
        "call_seconds": call_seconds,
        "wall_seconds": wall_seconds,
        "warmup_windows": warmup_windows,
        "built_by": built_by(case, Path(request["root"])),
        "sets": {name: str(value) for name, value in changed.items()},
        "overruled": {name: str(value) for name, value in state.overruled.items()},
    }


@operation("visit", is_timed=True)
def visit(state: WorkerState, request: Request) -> Reply:
    """Take all turns of a visit; the worker of another side takes its own in between."""
    cases = [state.prepared[key] for key in request["cases"]]
    state.learn_pulse(request["best_pulse"])
    plans = [Turns(**fields) for fields in request["plans"]]
    clocked: list[list[Clocked]] = [[] for _ in cases]
    printing: set[int] = set()
    seed = f"visit {next(state.visits)}"
    for index, case in enumerate(cases):
        state.case_in_turn.value = index
        global_state.restore({**state.place_settings, **case.own_settings})
        case.timed.renew(seed)  # the cases of a group get equal inputs, so that they do equal work
    state.restore_torch()
    state.case_in_turn.value = NO_CASE
    rows = [(side, [*turns]) for side, turns in groupby(request["order"], itemgetter(0))]
    if rows[0][0] != request["side"]:
        os.write(state.relay["token_to"], TOKEN)  # this side is ready, too
    else:
        _preheat(state, cases, plans, request.get("preheat_seconds", 0.0))
    for place, (side, turns) in enumerate(rows, 1):
        if side != request["side"]:
            continue
        while len(rows) > 1 and not os.read(state.relay["token_from"], 1):
            time.sleep(1)  # the other side has ended: so will this process
        for index in _in_turn(state, request, [index for _, index in turns], clocked):
            state.case_in_turn.value = index
            printed = state.printed_bytes()
            if cases[index].own_settings:
                global_state.restore({**state.place_settings, **cases[index].own_settings})
            clocked[index].append(cases[index].take_turn(plans[index], state.pulses))
            state.restore_settings()  # after each turn of each case alike, as it costs some microseconds
            if state.printed_bytes() != printed:
                printing.add(index)
            state.case_in_turn.value = NO_CASE
        if place < len(rows):
            os.write(state.relay["token_to"], TOKEN)
    # In the order ABBA: what drifts during the visit shifts both halves by the same amount.
    windows = [
        case.window(
            plan, [turn for number, turn in enumerate(turns) if (number + number // 2) % 2 == half], state.pulses
        )
        | {"printed": index in printing}
        for index, (case, plan, turns) in enumerate(zip(cases, plans, clocked, strict=True))
        for half in range(2)
    ]
    return {"windows": windows, "best_pulse": None if math.isinf(state.pulses.best) else state.pulses.best}


def _in_turn(
    state: WorkerState, request: Request, turns: Sequence[int], clocked: Sequence[Sequence[Clocked]]
) -> Iterator[int]:
    """Yield the number of the case of each turn, until the visit may end.

    Between pairs of rounds, and so beside no comparison, the process moves to the cores that are quiet most often.
    """
    if not request["choices"]:
        yield from turns
        return
    core = QuietCore(state.pulses, request["choices"])
    pair_of_rounds = 2 * len(clocked)
    for number in range(0, len(turns), pair_of_rounds):
        if number >= request["least_turns"] * len(clocked):
            quiet = [sum(_quiet_blocks(turn, state.pulses) for turn in of_case) for of_case in clocked]
            if min(quiet) >= ENOUGH_QUIET_BLOCKS:
                return
        core.choose()
        state.process_settings = global_state.capture(global_state.PROCESS)
        yield from turns[number : number + pair_of_rounds]


def _quiet_blocks(turn: Clocked, pulses: Pulses) -> int:
    """Return how many blocks of a turn are quiet; all of them, if nobody knows."""
    return sum(pulses.quiet_blocks(turn.pulses)) if turn.pulses else len(turn.batch_seconds)


def _preheat(state: WorkerState, cases: Sequence[PreparedCase], plans: Sequence[Turns], seconds: float) -> None:
    """Take turns that don't count for so many seconds, until a GPU is as warm as under steady load."""
    end = time.monotonic() + seconds
    for index in cycle(range(len(cases))):
        if time.monotonic() >= end:
            break
        state.case_in_turn.value = index
        global_state.restore({**state.place_settings, **cases[index].own_settings})
        cases[index].take_turn(plans[index], state.pulses)
    state.case_in_turn.value = NO_CASE
    state.restore_settings()


@operation("verify")
def verify(state: WorkerState, request: Request) -> None:
    """Compare a case with its reference once more, now that it has been timed."""
    case = Case.from_axes(request["case"])
    root = Path(request["root"])
    prepared = state.prepared[case.key]
    state.settings = {**state.place_settings, **prepared.own_settings}
    state.restore_torch()
    if isinstance(prepared.built, Built):

        def reference() -> Built:
            built = state.build_reference(reference_case(case), root)
            state.restore_torch()
            return built

        anew = partial(build, case, root, request["compiled_steps"])
        with no_threads_left(case):
            parity.compare(prepared.built, prepared.timed, reference, anew)


@operation("release", ends_case=True)
def release(state: WorkerState, _request: Request) -> None:
    """Forget the cases of the group."""
    for prepared in state.prepared.values():
        prepared.timed.close()
    state.prepared.clear()
    state.build_reference.cache_clear()

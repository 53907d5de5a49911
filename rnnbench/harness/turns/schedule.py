"""How calls are clocked: calibration and warm-up, the turns of a visit and their order, the order of a run's groups."""

import itertools
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from rnnbench.harness.devices import Blocks, Call, Clocked, Counters, Device, Meter
from rnnbench.store.metrics import Unavailable
from rnnbench.store.records import Group

Item = TypeVar("Item")
MAX_BLOCK_SECONDS = 0.01  # of calls that are clocked together, however long the slowest case's call takes
# The least number of blocks of a case in a visit, which matters for long calls: with eight, its time can be
# undisturbed although some of them are disturbed.
LEAST_BLOCKS = 8
# A visit of a run may go on until each case has so many quiet blocks. With fewer, its low quantile scatters more than
# processes differ, or is not known at all; with more, the visit takes time in which another process could be timed.
ENOUGH_QUIET_BLOCKS = 16
MOST_BLOCKS = 64  # by which it ends anyway
LEAST_BLOCK_SECONDS = 0.125  # of calls up to this length; of longer ones a visit has so many fewer
WARM_CALL_SECONDS = 1e-3  # a call this long fills the caches itself: no unclocked call comes before it
MAX_BLOCK_CALLS = 1_000_000
NANOSECOND = 1e-9
CALIBRATION_BLOCKS = 3  # of which calibration believes the shortest
LONG = 10  # windows: a call this long is believed alone, since no usual stall of a machine doubles it
MIN_COLD_CALLS = 5  # in a window of short calls, however long the flush before each call takes
WARMUP_SHARE = 4  # a warm-up window has a quarter of a window's calls
MAX_WARMUP_WINDOWS = 40
METERED_CALLS = 10  # between two steps of a counter of energy, so that the length of a call matters little there
MAX_METERED_SECONDS = 20.0  # of such calls
MAX_STEP_SECONDS = 2.0  # between two steps of a counter; the slowest known ones step every 0.1 s
STILL_FALLING = 0.98  # a window this much faster than the best before it means that the case is not warm yet


@dataclass(frozen=True)
class Progress:
    """How far a run is, for a display."""

    replicate: int  # counted from 1; 0 while cases are checked or observed, and nothing is timed
    visits_done: int  # groups visited in this replicate, or cases observed
    visits: int  # total for `visits_done`
    seconds_left: float | None  # None before there is an estimate
    is_counting: bool = False  # instructions, case by case
    stage: str = ""  # what happens now, if it is something else than the rest of a run
    ratios: tuple[float, ...] = ()  # so far, of the cases that were timed beside their references


@dataclass(frozen=True)
class Plan:
    """How a case's windows are made: `batches * batch` calls each, expected to last `seconds`."""

    batches: int
    batch: int
    seconds: float

    @property
    def calls(self) -> int:
        """Calls in one window."""
        return self.batches * self.batch


def calibrate(
    device: Device, call: Call, window_seconds: float, *, cold: bool = False, single_calls: bool = False
) -> Plan:
    """Choose the calls of a window so that it lasts about `window_seconds`, and at least one call.

    Of many short blocks the shortest counts: other work on the machine makes blocks longer, but not shorter. `cold`:
    each call will be made after a flush of the caches; `single_calls`: each will be clocked alone.
    """
    if cold:
        return _calibrate_cold(device, call, window_seconds)
    per_call = _least_seconds(device, call, window_seconds)
    return plan_window(per_call, window_seconds, device.blocks, single_calls=single_calls)


def plan_window(per_call: float, window_seconds: float, blocks: Blocks, *, single_calls: bool = False) -> Plan:
    """Plan a window of about `window_seconds` for calls of this length."""
    wanted = max(1, round(window_seconds / per_call)) if per_call > 0 else MAX_BLOCK_CALLS
    batch = 1 if single_calls else _batch(blocks, per_call)
    batches = max(1, round(wanted / batch))
    return Plan(batches, batch, batches * batch * per_call)


def _least_seconds(device: Device, call: Call, window_seconds: float) -> float:
    """Return the seconds of a call in the shortest of many short blocks, made for a quarter of a window or more.

    A call that is longer than a window is made once more, since a stall may have made it so long.
    """
    per_call = device.clock(call, 1, 1).seconds
    while per_call < LONG * window_seconds:
        batch = _batch(device.blocks, per_call)
        is_long = per_call >= window_seconds
        batches = 1 if is_long else CALIBRATION_BLOCKS
        if 0 < per_call < window_seconds:
            batches = max(CALIBRATION_BLOCKS, round(window_seconds / 4 / (batch * per_call)))
        before = per_call
        per_call = min(device.clock(call, batches, batch, is_warm=is_long).batch_seconds) / batch
        if per_call >= before / 2 or batch == MAX_BLOCK_CALLS:  # else the call is shorter than its blocks were made for
            return min(before, per_call)
    return per_call


def _batch(blocks: Blocks, per_call: float) -> int:
    """Return the number of calls that are clocked together."""
    if per_call >= blocks.shortest_call:
        return 1
    return max(1, round(min(blocks.seconds / per_call, MAX_BLOCK_CALLS))) if per_call > 0 else MAX_BLOCK_CALLS


def _calibrate_cold(device: Device, call: Call, window_seconds: float) -> Plan:
    """Calibrate with a flush before each call: it counts toward the length of the window, not of the call."""
    clocked = device.clock_cold(call, CALIBRATION_BLOCKS)
    per_call = min(clocked.batch_seconds)
    with_flush = clocked.host_seconds / CALIBRATION_BLOCKS
    longest = window_seconds / per_call if per_call > 0 else MAX_BLOCK_CALLS
    affordable = window_seconds / with_flush if with_flush > 0 else MAX_BLOCK_CALLS
    calls = max(1, round(min(longest, max(affordable, MIN_COLD_CALLS))))
    return Plan(calls, 1, calls * per_call)


def warm_up(device: Device, call: Call, plan: Plan, *, cold: bool = False) -> int:
    """Run short windows until they stop getting faster; returns how many were needed.

    A case whose window is a single call is warm after one call, which does all lazy set-up.
    """
    if plan.calls == 1:
        call()
        device.synchronize()
        return 1
    short = max(1, plan.batches // WARMUP_SHARE)
    best = float("inf")
    for number in range(1, MAX_WARMUP_WINDOWS + 1):
        is_warm = number > 1
        clocked = device.clock_cold(call, short) if cold else device.clock(call, short, plan.batch, is_warm=is_warm)
        usual = median(clocked.batch_seconds)
        if usual >= STILL_FALLING * best:
            return number
        best = usual
    return MAX_WARMUP_WINDOWS


def joules_per_call(
    meter: Meter, device: Device, call: Call, plan: Plan, now: Callable[[], float] = time.perf_counter
) -> float:
    """Return the joules of a call, over back-to-back calls between two steps of a counter; raises Unavailable.

    The calls go on for as long as the meter needs, and for ten calls if these take longer, up to `MAX_METERED_SECONDS`.
    """

    def clocked() -> int:  # returns after the last call has finished
        return device.clock(call, plan.batches, plan.batch).calls

    began = now()
    while now() - began < meter.load_seconds:
        clocked()
    per_call = plan.seconds / plan.calls
    seconds = max(meter.least_seconds, min(METERED_CALLS * per_call, MAX_METERED_SECONDS))
    before, _ = _at_step(meter, clocked, now)
    calls = 0
    start = now()
    while now() - start < seconds:
        calls += clocked()
    after, more = _at_step(meter, clocked, now)
    return meter.joules(before, after) / (calls + more)


def _at_step(meter: Meter, clocked: Callable[[], int], now: Callable[[], float]) -> tuple[Counters, int]:
    """Make calls until a counter steps; returns what the counters read then, and the number of calls.

    Between steps a counter lacks the energy since its last one, which may be a twentieth of a window. Raises
    Unavailable if none steps, as a running device always takes energy.
    """
    before = meter.read()
    began = now()
    calls = 0
    while (reading := meter.read()) == before:
        if now() - began > MAX_STEP_SECONDS:
            raise Unavailable(f"no energy counter moved within {MAX_STEP_SECONDS:g} s of calls")
        calls += clocked()
    return reading, calls


@dataclass(frozen=True)
class Turns:
    """How a case takes turns in a visit: in each turn, `blocks` of `calls` calls are clocked, each block by itself."""

    turns: int  # even
    blocks: int
    calls: int
    is_warm: bool  # no unclocked call comes first


def plan_turns(
    call_seconds: Mapping[Item, float],
    case_seconds: float,
    pace: Blocks,
    *,
    single_calls: bool = False,
    least_blocks: float = LEAST_BLOCKS,
) -> dict[Item, Turns]:
    """Plan the turns of cases that are compared with each other; `case_seconds` is the time for all turns of a case.

    `call_seconds` is the time of one call of each case, with a flush of the caches where one comes before it. All cases
    have equally many blocks of about the same length, that of the slowest case's call: short blocks see each state of a
    machine and long ones their average, so blocks of unlike length can't be compared. A block is no longer than that,
    since an interruption spoils a whole block. With `single_calls`, each block is one call. A case has `least_blocks`,
    unless its calls are longer than LEAST_BLOCK_SECONDS.

    All begin their turns alike, with an unclocked call or without one: if only the short ones had one, a long case
    would be charged alone for filling the caches, some 0.3% of its time.
    """
    longest = max(call_seconds.values())
    block = longest if single_calls else min(longest, MAX_BLOCK_SECONDS)
    if not single_calls and min(call_seconds.values()) < pace.shortest_call:
        block = max(block, pace.seconds)
    blocks = max(1, round(pace.turn_seconds / block)) if block > 0 else 1
    of_block = max(block, longest, NANOSECOND)
    wanted = max(case_seconds, least_blocks * min(of_block, LEAST_BLOCK_SECONDS))
    turns = max(2, 2 * round(wanted / (2 * blocks * of_block)))
    return {
        case: Turns(
            turns=turns,
            blocks=blocks,
            calls=1 if single_calls else min(MAX_BLOCK_CALLS, max(1, round(block / max(seconds, NANOSECOND)))),
            is_warm=longest >= WARM_CALL_SECONDS,
        )
        for case, seconds in call_seconds.items()
    }


def balanced_order(cases: Sequence[Item], turns: int, rng: random.Random) -> list[Item]:
    """Return an even number of turns for each case, in pairs of rounds: a random order, then its mirror image.

    For two cases, this is ABBA or BAAB. A drift that is linear over a pair of rounds shifts all by the same amount.
    """
    order: list[Item] = []
    for _ in range(turns // 2):
        once = rng.sample(cases, len(cases))
        order += once + once[::-1]
    return order


def clock_turn(
    device: Device,
    call: Call,
    plan: Turns,
    *,
    wait: Callable[[], object] | None = None,
    pulse: Callable[[], float] | None = None,
    is_cold: bool = False,
    counts_waits: bool = False,
) -> Clocked:
    """Clock the blocks of one turn, after `wait`, which returns when the core is quiet; `pulse` as in `Device.clock`.

    `is_cold`: the caches are flushed before each call, and there are no pulses. `counts_waits`: as in `Device.clock`.
    """
    if is_cold:
        return device.clock_cold(call, plan.blocks)
    if wait is not None:
        wait()
    return device.clock(call, plan.blocks, plan.calls, is_warm=plan.is_warm, counts_waits=counts_waits, pulse=pulse)


def sweeps_in_turn(groups: Iterable[Group]) -> list[Group]:
    """Return the first group of each sweep, then the second, and so on: each sweep gets its share of the budget."""
    sweeps: dict[int, list[Group]] = {}
    for group in groups:
        sweeps.setdefault(group.sweep, []).append(group)
    rounds = itertools.zip_longest(*sweeps.values())
    return [group for groups_in_turn in rounds for group in groups_in_turn if group is not None]

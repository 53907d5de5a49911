"""What pulses beside the calls of this process tell: the core on which they are made, and which blocks are quiet."""

import math
import platform
from collections.abc import Sequence
from statistics import fmean

from rnnbench.analysis.quiet import QuietBlocks, low_parts
from rnnbench.analysis.quiet_rounds import RoundTimes
from rnnbench.analysis.replicate_times import pooled_times
from rnnbench.harness import devices
from rnnbench.harness.devices import Clocked
from rnnbench.harness.machine.cores import measuring_choices
from rnnbench.harness.machine.kept_pulse import KeptPulse
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.machine.quiet_core import MAX_CHOICES, QuietCore
from rnnbench.harness.turns.schedule import Turns
from rnnbench.store.user_cache import private_folder


def quiet_core(device: str, threads: int) -> QuietCore | None:
    """Return the pulses beside calls on a device by so many threads of torch; None where they tell nothing."""
    if not devices.pulses_tell(device, threads):
        return None
    kept_pulse = KeptPulse(private_folder(), platform.python_version())
    best = kept_pulse.best_seconds()
    return QuietCore(Pulses(math.inf if best is None else best), measuring_choices(1)[:MAX_CHOICES], kept_pulse)


def round_times(plan: Turns, turns: Sequence[Clocked], pulses: Pulses | None) -> RoundTimes:
    """Return the times of a call from its turns in a round."""
    blocks = sorted(seconds / plan.calls for turn in turns for seconds in turn.batch_seconds)
    times = pooled_times([blocks], [len(blocks) * plan.calls], [sum(turn.seconds for turn in turns)])
    taken = [seconds for turn in turns for seconds in turn.pulses]
    if pulses is None or not taken:
        return RoundTimes(times.log_quantiles, times.mean)
    quiet = sorted(
        seconds / plan.calls
        for turn in turns
        for seconds, is_quiet in zip(turn.batch_seconds, pulses.quiet_blocks(turn.pulses), strict=True)
        if is_quiet
    )
    return RoundTimes(
        times.log_quantiles,
        times.mean,
        QuietBlocks.from_windows([low_parts(quiet)], [len(quiet)], [fmean(quiet)]) if quiet else None,
        pulses=len(taken),
        quiet_pulses=sum(map(pulses.is_quiet, taken)),
        best_pulse=pulses.best,
    )

"""A case that a worker has prepared: its turns, and the windows that are made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Any

import torch

from rnnbench.analysis.quiet import low_parts
from rnnbench.harness import devices
from rnnbench.harness.devices import Clocked
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.turns.schedule import Turns, clock_turn
from rnnbench.harness.worker.left_running import no_threads_left
from rnnbench.store.records import Workload, evenly_spaced
from rnnbench.workloads.data import Loading
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import Built

KEPT_QUANTILES = 49  # of the blocks of half of the turns of a case in a visit


@dataclass(frozen=True)
class PreparedCase:
    """A case that is ready to be timed."""

    built: Built | Loading  # without its reference, which is not kept in memory
    device: devices.Device
    timed: TimedCall
    padding: torch.Tensor
    own_settings: Mapping[str, Any]  # of torch, which its own code has set

    def take_turn(self, plan: Turns, pulses: Pulses) -> Clocked:
        """Clock the calls of one turn, which waits for a quiet core if pulses can tell whether it is quiet.

        The rate of a GPU's clock is measured right after them: an idle card would tell another one.
        """
        case = self.built.case
        has_pulses = pulses_tell(case.workload)
        with self.device.range(case.key), self.timed.mode(), no_threads_left(case):
            clocked = clock_turn(
                self.device,
                self.timed.call,
                plan,
                wait=pulses.wait if has_pulses else None,
                pulse=pulses.take if has_pulses else None,
                is_cold=case.workload.caches == "cold",
                # A step of a stream has a deadline, which does not wait while another process has the core.
                counts_waits=case.workload.task == "streaming",
            )
            hertz = self.device.clock_hertz()
        return clocked if hertz is None else replace(clocked, clock_hertz=hertz)

    def window(self, plan: Turns, turns: Sequence[Clocked], pulses: Pulses) -> dict[str, Any]:
        """Return half of the turns of a visit, with fields of `rnnbench.store.records.Window`."""
        per_call = sorted(seconds / plan.calls for turn in turns for seconds in turn.batch_seconds)
        rates = [turn.clock_hertz for turn in turns if turn.clock_hertz is not None]
        is_stream = self.built.case.workload.task == "streaming"  # the latency of each step counts
        of_clock = {"sm_clock_mhz": median(rates) / 1e6} if rates else {}
        return (
            self._quiet_blocks(plan, turns, pulses)
            | of_clock
            | {
                "case": self.built.case.key,
                "calls": len(turns) * plan.blocks * plan.calls,
                "batch": plan.calls,
                "waits": len(turns),
                "seconds": sum(turn.seconds for turn in turns),
                "host_seconds": sum(turn.host_seconds for turn in turns),
                "submit_seconds": sum(turn.submit_seconds for turn in turns),
                "quantiles": per_call if is_stream else evenly_spaced(per_call, KEPT_QUANTILES),
                "cores": allowed_cores(),
                "device_uuid": self.device.uuid,
            }
        )

    def _quiet_blocks(self, plan: Turns, turns: Sequence[Clocked], pulses: Pulses) -> dict[str, Any]:
        """Return the fields of a window that say what its pulses and its quiet blocks show; empty without pulses."""
        taken = [seconds for turn in turns for seconds in turn.pulses]
        if not taken:
            return {}
        quiet = sorted(
            seconds / plan.calls
            for turn in turns
            for seconds, is_quiet in zip(turn.batch_seconds, pulses.quiet_blocks(turn.pulses), strict=True)
            if is_quiet
        )
        return {
            "pulses": len(taken),
            "quiet_pulses": sum(map(pulses.is_quiet, taken)),
            "best_pulse": pulses.best,
            "quiet_blocks": len(quiet),
            "quiet_seconds": fmean(quiet) if quiet else None,
            "quiet_low": low_parts(quiet),
        }


def pulses_tell(workload: Workload) -> bool:
    """Return True if pulses beside its calls show if the core of a workload is quiet.

    As `devices.pulses_tell` says of all calls. A flush before each call, or processes that load data, would come
    between a call and its pulses, and a stream's steps have deadlines.
    """
    is_between = workload.waits_for_each_call or bool(workload.workers)
    return not is_between and devices.pulses_tell(workload.device, workload.threads)

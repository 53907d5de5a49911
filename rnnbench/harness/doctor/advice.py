"""What stands in the way of a good measurement on this machine, and what to do about it."""

import sys
from collections.abc import Mapping
from typing import Any

from rnnbench.analysis.environments.differences import MAX_QUIET_LOAD
from rnnbench.harness.devices import nvml
from rnnbench.harness.doctor import gpu_advice
from rnnbench.harness.instructions.counting import choose_counter
from rnnbench.harness.machine.cores import cpu_cores
from rnnbench.store.readings import Unavailable


def current_readings(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The environment with what drivers report about the devices at this moment; changes nothing on any of them."""
    return {**environment, **nvml.read_all(nvml.Gpu.stand)}


def advice(environment: Mapping[str, Any]) -> list[str]:
    """What to change before measuring, most harmful first; empty if no problem is known.

    `environment`: what `current_readings` returns.
    """
    return [*gpu_advice.advice(environment, gpu_advice.torch_cuda()), *_of_machine(environment)]


def _of_machine(environment: Mapping[str, Any]) -> list[str]:
    machine, load = environment["machine"], environment["load"]
    cores = len(machine["cores_allowed"])
    texts = []
    if load["load_average"] is not None and load["load_average"] > MAX_QUIET_LOAD:
        texts.append(
            f"Other work is running (load average {load['load_average']:.1f} on {machine['cores']} cores): stop it, "
            "or expect wider intervals."
        )
    if load["steal_share"] is not None and load["steal_share"] > 0.01:
        texts.append(
            f"The host has given {load['steal_share']:.1%} of this machine's time to others since boot (steal): "
            "use another hour or another host, or more replicates."
        )
    if cores == 1:
        texts.append("Only one core may be used: rnnbench's coordinator shares it with the worker. Allow a second one.")
    limit = machine["cgroup_cpu_limit"]
    if limit is not None and cpu_cores(limit) < cores:
        texts.append(
            f"A control group (of a container, or of systemd) limits rnnbench to {cpu_cores(limit):g} cores' time and "
            "stops it for the rest of each period: raise the CPU limit, or every window may hold such a stop."
        )
    if machine["frequency_governor"] not in (None, "performance"):
        texts.append(
            f"The clock rate may follow the load or stay low (governor {machine['frequency_governor']!r}): "
            "`cpupower frequency-set -g performance` holds it high."
        )
    variables = environment["software"]["variables"]
    if variables:
        settings = ", ".join(f"{name}={value}" for name, value in variables.items())
        texts.append(f"The shell sets {settings}: unset it, unless you mean to measure under it.")
    if sys.dont_write_bytecode:
        texts.append(
            "Python may not keep compiled code (PYTHONDONTWRITEBYTECODE): each worker compiles rnnbench's modules and "
            "yours again, and starts later. Unset it."
        )
    return texts


def instructions() -> str:
    """What counts instructions here for `check --instructions`, or why nothing does, in a sentence."""
    try:
        return f"`check --instructions` counts by {choose_counter()}."
    except Unavailable as reason:
        return f"`check --instructions` can't count here: {reason}."

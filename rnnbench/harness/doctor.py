"""What stands in the way of a good measurement on this machine, and a short run that shows its noise."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from rnnbench.analysis.environments import MAX_QUIET_LOAD
from rnnbench.analysis.run_times import read_run_times
from rnnbench.analysis.summary import Noise, noise
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.harness.devices import nvml
from rnnbench.harness.machine.cores import cpu_cores
from rnnbench.harness.machine.perf_event import choose_counter
from rnnbench.harness.turns.schedule import Progress
from rnnbench.store.folder import read_info
from rnnbench.store.metrics import Unavailable
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from rnnbench.suite.file import Settings
from rnnbench.temporary import scratch

DOCTOR_CASES = ["cell=lstm,gru batch_size=1"]  # of the suite `quick`
DOCTOR_SETTINGS = Settings(replicates=6, precision=None)
HOT_CELSIUS = 80  # before anything is measured; data-centre cards slow down from about 85 on
MAX_QUIET_STEAL = 0.01
IDLE_BYTES = 2 << 30  # more than a driver takes for itself on a card that nobody uses


def current_readings(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the environment with what drivers report at this moment about the GPUs of this job; nothing is changed."""
    others = {key: value for key, value in environment.items() if not key.startswith("gpu")}
    return {**others, **nvml.read_all(only_visible=True)}


def probe(on_progress: Callable[[Progress], None]) -> tuple[dict[str, Any], Noise]:
    """Return the environment as a run records it, and the noise of a run of about 15 seconds that is not kept."""
    suite = suites.read_suite("quick")
    groups = suite.groups(parse_only(DOCTOR_CASES), None)
    with scratch("doctor") as out:
        command = "rnnbench doctor"
        folder = run_suite(suite, groups, DOCTOR_SETTINGS, out=out, command=command, on_progress=on_progress)
        return read_info(folder).environment, noise(read_run_times(folder))


def instructions() -> str:
    """Return a sentence that says what counts instructions here for `check --instructions`, or why nothing does."""
    try:
        return f"`check --instructions` counts by {choose_counter()}."
    except Unavailable as reason:
        return f"`check --instructions` can't count here: {reason}."


def advice(environment: Mapping[str, Any]) -> list[str]:
    """Return advice on what to change before measuring, the most harmful first; empty if no problem is known.

    `environment`: what `current_readings` returns.
    """
    gpus = {name: gpu for name, gpu in environment.items() if name.startswith("gpu ") and isinstance(gpu, dict)}
    texts = [text for name, gpu in gpus.items() for text in _of_gpu(gpu, name.rpartition(" ")[2])]
    if gpus and "+cpu" in (environment["software"]["packages"]["torch"] or ""):
        texts = ["There is a GPU, but torch is built without CUDA: install one with CUDA to use it."]
    return [*texts, *_of_machine(environment)]


def _of_gpu(gpu: Mapping[str, Any], index: str) -> list[str]:
    """Return advice for one GPU; a value that could not be read is not a problem."""
    if "name" not in gpu:
        fault = gpu["not known"]["name"]
        return [f"GPU {index}: it does not answer ({fault}): look at `nvidia-smi` and at the kernel's log."]
    processes = gpu.get("processes", [])
    used = gpu.get("memory_used_bytes", 0)
    reasons = set(gpu.get("throttle_reasons", []))
    celsius = gpu.get("temperature_celsius", 0.0)
    held = ", ".join(sorted(reasons & nvml.SPOILING))
    most = f" (at most {gpu['max_sm_clock_mhz']:,.0f} MHz)" if "max_sm_clock_mhz" in gpu else ""
    checks = [
        (
            processes,
            f"other processes use it ({', '.join(map(str, processes))}): stop them, or their kernels run between those "
            "of a case.",
        ),
        (
            not processes and used > IDLE_BYTES,
            f"{used / 1e9:.1f} GB of its memory are in use, though no process is listed: look outside this container.",
        ),
        (
            held,
            f"its clocks are held back at this moment ({held}): wait until it is cool, and look at its cooling and "
            "power supply.",
        ),
        (
            not held and celsius >= HOT_CELSIUS,
            f"it has {celsius:.0f} °C before anything is measured: wait, or its clocks will be held back.",
        ),
        (
            not reasons & nvml.SETTING_REASONS,
            "no setting shows that holds its clocks, so they follow load, power and heat. To compare runs, lock them "
            f"at a rate that it can hold{most}, where you may: `sudo nvidia-smi -i {index} -lgc MHZ`.",
        ),
    ]
    return [f"GPU {index} ({gpu['name']}): {text}" for is_so, text in checks if is_so]


def _of_machine(environment: Mapping[str, Any]) -> list[str]:
    machine = environment["machine"]
    load = environment["load"]
    variables = environment["software"]["variables"]
    average = load["load_average"] or 0.0
    steal = load["steal_share"] or 0.0
    governor = machine["frequency_governor"]
    allowed = len(machine["cores_allowed"])
    limit = cpu_cores(machine["cgroup_cpu_limit"])
    settings = ", ".join(f"{name}={value}" for name, value in variables.items())
    checks = [
        (
            average > MAX_QUIET_LOAD,
            f"Other work is running (load average {average:.1f} on {machine['cores']} cores): stop it, or expect wider "
            "intervals.",
        ),
        (
            steal > MAX_QUIET_STEAL,
            f"The host has given {steal:.1%} of this machine's time to others since boot (steal): measure at another "
            "time or on another host, or use more replicates.",
        ),
        (
            allowed == 1,
            "Only one core may be used: rnnbench's coordinator shares it with the worker. Allow a second one.",
        ),
        (
            limit < allowed,
            f"A control group (of a container, or of systemd) limits rnnbench to {limit:g} cores' time and stops it "
            "for the rest of each period: raise the CPU limit, or any measurement may include such a pause.",
        ),
        (
            governor not in (None, "performance"),
            f"The clock rate may follow the load or stay low (governor {governor!r}): `cpupower frequency-set -g "
            "performance` holds it high.",
        ),
        (settings, f"The shell sets {settings}: unset it, unless you want to measure with it."),
        (
            sys.dont_write_bytecode,
            "Python may not keep compiled code (PYTHONDONTWRITEBYTECODE): each worker compiles rnnbench's modules and "
            "yours again, and starts later. Unset it.",
        ),
    ]
    return [text for is_so, text in checks if is_so]

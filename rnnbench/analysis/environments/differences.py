"""Whether two runs were made on one machine, and in one environment; if not, what differs.

A machine is its processor's identity, its cores, its GPUs, and its measured rates. Two processors can have one name.
"""

from collections.abc import Mapping
from typing import Any

from rnnbench.analysis.environments.processors import identity_differences
from rnnbench.analysis.environments.rates import Rates, rate_differences
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.processor import Processor
from rnnbench.store.run_info import RunInfo

# What changes a ratio to torch.nn even if no cell has changed. Measured clock rates are not part of it.
WORKER = ("protocol", "python", "torch", "cuda", "cudnn", "onednn", "cpu_capability", "settings")
MAX_QUIET_LOAD = 0.5  # load average over a minute of a machine on which nothing else runs
MEASURE = ("windows", "window_seconds", "cold_cache")


def differences(base: RunInfo, head: RunInfo, called: tuple[str, str] = ("the base", "the head")) -> list[str]:
    """All that makes two runs incomparable, a clause for each key with both values; empty if nothing does.

    If the machines have different identities, or one has none, only that is told: the rest follows from it.
    `called` names the two runs in a clause about one of them.
    """
    if identity := identity_differences(processor(base), processor(head), called):
        return identity
    then, now = _hardware(base) | _software(base), _hardware(head) | _software(head)
    # Rates come last: another torch has other rates on the same machine.
    return _changed(then, now) or rate_differences(_rates(base), _rates(head))


def machine_differences(base: RunInfo, head: RunInfo, called: tuple[str, str] = ("the base", "the head")) -> list[str]:
    """What `differences` says of the machines alone; their rates are compared if the software is the same."""
    identity = identity_differences(processor(base), processor(head), called)
    if apart := identity or _changed(_hardware(base), _hardware(head)):
        return apart
    return [] if _changed(_software(base), _software(head)) else rate_differences(_rates(base), _rates(head))


def processor(info: RunInfo) -> Processor | None:
    """The processor of a run; None if an older rnnbench made it, which did not record it."""
    content = (info.environment.get("machine") or {}).get("processor")
    return None if content is None else Processor.from_json(content)


def _hardware(info: RunInfo) -> dict[str, Any]:
    machine, worker = (info.environment.get(part) or {} for part in ("machine", "worker"))
    return {
        "cgroup_cpu_limit": _set_limit(machine.get("cgroup_cpu_limit")),
        "cores": len(machine.get("cores_allowed") or ()),
        # An older rnnbench asked its first worker for the names, and did not compare those that the driver tells.
        "gpus": _gpus(info.environment) or worker.get("gpus") or [],
    }


def _gpus(environment: Mapping[str, Any]) -> list[str]:
    """The names that the driver tells."""
    return [gpu["name"] for key, gpu in environment.items() if key.startswith("gpu ") and "name" in gpu]


def _set_limit(limit: str | None) -> str | None:
    """A control group's limit of processor time; None if nothing is limited, which not every system reports."""
    return None if limit is None or limit.startswith("max") else limit


def _software(info: RunInfo) -> dict[str, Any]:
    """The software and the settings of the measurement."""
    worker, software = (info.environment.get(part) or {} for part in ("worker", "software"))
    measure = {"cold_cache": False} | info.resolved.get("measure", {})  # a setting of older runs, now an axis
    return {
        **{key: worker.get(key) for key in WORKER},
        "variables": software.get("variables"),
        **{key: measure.get(key) for key in MEASURE},
    }


def _rates(info: RunInfo) -> Rates:
    """The measured rates of a run's machine; none if other work ran when the run began, which lowers them all."""
    load = (info.environment.get("load") or {}).get("load_average")
    if not isinstance(load, int | float) or load > MAX_QUIET_LOAD:
        return {}
    return {ceiling.place: ceiling.rates for ceiling in map(Ceiling.from_json, info.ceilings)}


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [f"{key} was {then[key]!r} and is {now[key]!r}" for key in then if then[key] != now[key]]

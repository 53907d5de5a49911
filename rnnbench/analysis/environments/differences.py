"""Whether two runs were made on one machine, and in one environment; if not, what differs.

A machine is its processor's identity, its cores, its GPUs, and its measured rates. Two processors can have one name.
"""

from collections.abc import Mapping
from typing import Any

from rnnbench.analysis.environments.processors import processor_differences
from rnnbench.analysis.environments.rates import Rates, rate_differences
from rnnbench.store.processor import Processor
from rnnbench.store.rates import Rate
from rnnbench.store.run_info import RunInfo

# What changes a ratio to torch.nn even if no cell has changed. Measured clock rates are not part of it.
WORKER = ("protocol", "python", "torch", "cuda", "cudnn", "onednn", "cpu_capability", "settings")
MEASURE = ("windows", "window_seconds", "cold_cache")
UNIDENTIFIED = "made by an rnnbench that did not record the machine's identity"


def differences(base: RunInfo, head: RunInfo, called: tuple[str, str] = ("the base", "the head")) -> list[str]:
    """All that makes two runs incomparable, a clause for each key with both values; empty if nothing does.

    If the machines have different identities, or one has none, only that is told: the rest follows from it.
    `called` names the two runs in a clause about one of them.
    """
    if identity := _identity_differences(base, head, called):
        return identity
    then, now = _hardware(base) | _software(base), _hardware(head) | _software(head)
    # Rates come last: another torch has other rates on the same machine.
    return _changed(then, now) or rate_differences(_rates(base), _rates(head))


def machine_differences(base: RunInfo, head: RunInfo, called: tuple[str, str] = ("the base", "the head")) -> list[str]:
    """What `differences` says of the machines alone; their rates are compared if the software is the same."""
    if apart := _identity_differences(base, head, called) or _changed(_hardware(base), _hardware(head)):
        return apart
    return [] if _changed(_software(base), _software(head)) else rate_differences(_rates(base), _rates(head))


def processor(info: RunInfo) -> Processor | None:
    """The processor of a run; None if an older rnnbench made it, which did not record it."""
    content = (info.environment.get("machine") or {}).get("processor")
    return None if content is None else Processor.from_json(content)


def _identity_differences(base: RunInfo, head: RunInfo, called: tuple[str, str]) -> list[str]:
    then, now = processor(base), processor(head)
    if then is not None and now is not None:
        return processor_differences(then, now)
    names = [name for name, known in zip(called, (then, now), strict=True) if known is None]
    return [f"{' and '.join(names)} {'was' if len(names) == 1 else 'were'} {UNIDENTIFIED}"]


def _hardware(info: RunInfo) -> dict[str, Any]:
    machine, worker = (info.environment.get(part) or {} for part in ("machine", "worker"))
    return {
        "cgroup_cpu_limit": machine.get("cgroup_cpu_limit"),
        "cores": len(machine.get("cores_allowed") or ()),
        "gpus": worker.get("gpus"),
    }


def _software(info: RunInfo) -> dict[str, Any]:
    """The software and the settings of the measurement."""
    worker, software = (info.environment.get(part) or {} for part in ("worker", "software"))
    measure = {"cold_cache": False} | info.resolved.get("measure", {})  # older runs could not flush
    return {
        **{key: worker.get(key) for key in WORKER},
        "variables": software.get("variables"),
        **{key: measure.get(key) for key in MEASURE},
    }


def _rates(info: RunInfo) -> Rates:
    """The measured rates of a run's machine."""
    return {
        (ceiling["device"], ceiling["dtype"], ceiling["threads"]): {
            name: Rate(**rate) for name, rate in ceiling.get("rates", {}).items()
        }
        for ceiling in info.ceilings
    }


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [f"{key} was {then[key]!r} and is {now[key]!r}" for key in then if then[key] != now[key]]

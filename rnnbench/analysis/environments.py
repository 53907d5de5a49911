"""Whether two runs were made on one machine, and in one environment; if not, what differs.

A machine is its processor's identity, its cores, its GPUs, and its measured rates. Two processors can have one name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rnnbench.analysis.rates import Rates, rate_differences
from rnnbench.store.processor import Cache, Processor
from rnnbench.store.rates import Rate
from rnnbench.store.run_info import RunInfo
from rnnbench.text import printable

# What changes a ratio to torch.nn even if no cell has changed. Measured clock rates are not part of it.
WORKER = ("protocol", "python", "torch", "cuda", "cudnn", "onednn", "cpu_capability", "settings")
MEASURE = ("windows", "window_seconds", "cold_cache")
KIND = ("vendor", "family", "model", "name")  # of a processor: if two of them differ, all else follows
MAX_NAMED = 3  # instruction sets
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


def processor_differences(then: Processor, now: Processor) -> list[str]:
    """What differs between two processors in all that is known of both: another kind of processor is one clause."""
    kind = [key for key in KIND if _differ(getattr(then, key), getattr(now, key))]
    if len(kind) > 1:
        return [f"processor was {_named(then)} and is {_named(now)}"]
    if kind:
        return [_clause(f"processor {kind[0]}", getattr(then, kind[0]), getattr(now, kind[0]))]
    clauses = []
    if _differ(then.stepping, now.stepping):
        clauses.append(_clause("processor stepping", then.stepping, now.stepping))
    if then.instruction_sets and now.instruction_sets and then.instruction_sets != now.instruction_sets:
        clauses.append(_instruction_sets(set(then.instruction_sets), set(now.instruction_sets)))
    if then.caches and now.caches and set(then.caches) != set(now.caches):
        clauses.append(_caches(then.caches, now.caches))
    if _differ(then.microcode, now.microcode):
        clauses.append(_clause("microcode", then.microcode, now.microcode))
    if then.hypervisor != now.hypervisor:
        clauses.append(_clause("hypervisor", then.hypervisor, now.hypervisor))
    return clauses


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


def _differ(then: str | None, now: str | None) -> bool:
    """Whether two values differ that are both known."""
    return then is not None and now is not None and then != now


def _clause(key: str, then: str | None, now: str | None) -> str:
    was, now_is = ("none" if value is None else printable(value) for value in (then, now))
    return f"{key} was {was} and is {now_is}"


def _named(known: Processor) -> str:
    """`AMD EPYC (family 25, model 17)`."""
    numbers = [f"{key} {value}" for key in ("family", "model") if (value := getattr(known, key)) is not None]
    name = known.name or known.vendor or "a processor without a name"
    return printable(f"{name} ({', '.join(numbers)})" if numbers else name)


def _instruction_sets(then: set[str], now: set[str]) -> str:
    changes = {"lost": then - now, "gained": now - then}
    return f"instruction sets {' and '.join(f'{verb} {_some(flags)}' for verb, flags in changes.items() if flags)}"


def _some(flags: set[str]) -> str:
    names = [printable(flag) for flag in sorted(flags)]
    more = [f"{len(names) - MAX_NAMED} more"] if len(names) > MAX_NAMED else []
    return ", ".join(names[:MAX_NAMED] + more)


def _caches(then: Sequence[Cache], now: Sequence[Cache]) -> str:
    """The cache of the highest level that differs."""
    changed = set(then) ^ set(now)
    place = max((cache.level, cache.kind) for cache in changed)
    was, now_is = (
        next((_size(cache) for cache in caches if cache in changed and (cache.level, cache.kind) == place), "absent")
        for caches in (then, now)
    )
    return f"level {place[0]} {printable(place[1])} cache was {was} and is {now_is}"


def _size(cache: Cache) -> str:
    return f"{cache.bytes >> 10:,} KiB for {cache.cores} {'core' if cache.cores == 1 else 'cores'}"

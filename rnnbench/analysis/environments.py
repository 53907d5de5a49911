"""Whether two runs were made on one machine, and in one environment; if not, what differs.

A machine is its processor's identity, its cores, its GPUs, and its measured rates. Two processors can have one name.
"""

from collections.abc import Callable, Mapping
from typing import Any

from rnnbench.store.ceilings import Ceiling, Rate
from rnnbench.store.run_info import UNKNOWN_HYPERVISOR, Cache, Processor, RunInfo
from rnnbench.text import plural, printable

UNIDENTIFIED = "made by an rnnbench that did not record the machine's identity"
KIND = ("vendor", "family", "model", "name")  # if two of them differ, all else follows
MAX_NAMED = 3  # instruction sets
MAX_QUIET_LOAD = 0.5  # load average over a minute of a machine on which nothing else runs
MIN_APART = 0.25  # noise leaves that much between the best rates of one machine
Rates = Mapping[tuple[str, str, int], Mapping[str, Rate]]  # (device, dtype, threads) -> name -> rate


def differences(base: RunInfo, head: RunInfo, called: tuple[str, str] = ("the base", "the head")) -> list[str]:
    """Return all that makes two runs incomparable, a clause for each key with both values; empty if nothing does.

    If the machines have different identities, or one has none, only that is told: the rest follows from it.
    `called` names the two runs in a clause about one of them.
    """
    if identity := identity_differences(processor(base), processor(head), called):
        return identity
    # Rates come last: another torch has other rates on the same machine.
    return _changed(HARDWARE | SOFTWARE, base, head) or rate_differences(_rates(base), _rates(head))


def machine_differences(base: RunInfo, head: RunInfo, called: tuple[str, str] = ("the base", "the head")) -> list[str]:
    """Return what `differences` says of the machines alone; their rates are compared if the software is the same."""
    identity = identity_differences(processor(base), processor(head), called)
    if apart := identity or _changed(HARDWARE, base, head):
        return apart
    return [] if _changed(SOFTWARE, base, head) else rate_differences(_rates(base), _rates(head))


def processor(info: RunInfo) -> Processor | None:
    """Return the processor of a run; None if an older rnnbench made it, which did not record it."""
    content = _of("machine", "processor")(info)
    return None if content is None else Processor.from_json(content)


def _of(part: str, key: str) -> Callable[[RunInfo], Any]:
    """A fact of an environment, as it was recorded."""
    return lambda info: (info.environment.get(part) or {}).get(key)


def _of_measure(key: str) -> Callable[[RunInfo], Any]:
    return lambda info: ({"cold_cache": False} | info.resolved.get("measure", {})).get(key)  # now an axis


def _set_limit(info: RunInfo) -> str | None:
    """A control group's limit of processor time; None if nothing is limited, which not every system reports."""
    limit = _of("machine", "cgroup_cpu_limit")(info)
    return None if limit is None or limit.startswith("max") else str(limit)


def _gpus(info: RunInfo) -> list[str]:
    """The names that the driver tells; an older rnnbench asked its first worker."""
    told = [gpu["name"] for key, gpu in info.environment.items() if key.startswith("gpu ") and "name" in gpu]
    return told or _of("worker", "gpus")(info) or []


# What changes a ratio to torch.nn even if no cell has changed. Measured clock rates are not part of it.
HARDWARE: dict[str, Callable[[RunInfo], Any]] = {
    "cgroup_cpu_limit": _set_limit,
    "cores": lambda info: len(_of("machine", "cores_allowed")(info) or ()),
    "gpus": _gpus,
}
WORKER = ("protocol", "python", "torch", "cuda", "cudnn", "onednn", "cpu_capability", "settings")
SOFTWARE: dict[str, Callable[[RunInfo], Any]] = {
    **{key: _of("worker", key) for key in WORKER},
    "variables": _of("software", "variables"),
    **{key: _of_measure(key) for key in ("windows", "window_seconds", "cold_cache")},
}


def _changed(facts: Mapping[str, Callable[[RunInfo], Any]], base: RunInfo, head: RunInfo) -> list[str]:
    both = {key: (fact(base), fact(head)) for key, fact in facts.items()}
    return [f"{key} was {then!r} and is {now!r}" for key, (then, now) in both.items() if then != now]


def identity_differences(then: Processor | None, now: Processor | None, called: tuple[str, str]) -> list[str]:
    """Return a clause for each difference between the processors of two runs; another kind of processor is one clause.

    `then`, `now`: None if the run did not record its processor; a clause that says so calls the two runs as `called`.
    """
    if then is None or now is None:
        names = [name for name, known in zip(called, (then, now), strict=True) if known is None]
        return [f"{' and '.join(names)} {'was' if len(names) == 1 else 'were'} {UNIDENTIFIED}"]
    kind = [key for key in KIND if _both_known(getattr(then, key), getattr(now, key))]
    if len(kind) > 1:
        return [f"processor was {_named(then)} and is {_named(now)}"]
    if kind:
        return [f"processor {kind[0]} {_was_and_is(getattr(then, kind[0]), getattr(now, kind[0]))}"]
    clauses = {label: rule(getattr(then, key), getattr(now, key)) for key, (label, rule) in RULES.items()}
    return [f"{label} {clause}".lstrip() for label, clause in clauses.items() if clause]


def _was_and_is(then: str | None, now: str | None) -> str:
    was, now_is = ("none" if value is None else printable(value) for value in (then, now))
    return f"was {was} and is {now_is}"


def _both_known(then: str | None, now: str | None) -> str:
    """How two values differ that are both known; empty if they do not."""
    return _was_and_is(then, now) if None not in (then, now) and then != now else ""


def _hypervisor(then: str | None, now: str | None) -> str:
    """One without a name may be any other, but a machine without a hypervisor is another one."""
    is_apart = then != now and (None in (then, now) or UNKNOWN_HYPERVISOR not in (then, now))
    return _was_and_is(then, now) if is_apart else ""


def _flags(then: tuple[str, ...], now: tuple[str, ...]) -> str:
    sides = {"lost": sorted({*then} - {*now}), "gained": sorted({*now} - {*then})} if then and now else {}
    told = []
    for verb, flags in sides.items():
        more = [f"{len(flags) - MAX_NAMED} more"] if len(flags) > MAX_NAMED else []
        told += [f"{verb} {', '.join([*map(printable, flags[:MAX_NAMED]), *more])}"] if flags else []
    return " and ".join(told)


def _caches(then: tuple[Cache, ...], now: tuple[Cache, ...]) -> str:
    """The cache of the highest level that differs."""
    changed = {*then} ^ {*now} if then and now else set()
    if not changed:
        return ""
    level, kind = max((cache.level, cache.kind) for cache in changed)
    sizes = [
        [
            f"{cache.bytes >> 10:,} KiB for {plural(cache.cores, 'core')}"
            for cache in caches
            if cache in changed and (cache.level, cache.kind) == (level, kind)
        ]
        for caches in (then, now)
    ]
    was, now_is = ((of_side or ["absent"])[0] for of_side in sizes)
    return f"level {level} {printable(kind)} cache was {was} and is {now_is}"


RULES: dict[str, tuple[str, Callable[..., str]]] = {  # fact of a processor -> how it is called, and when it differs
    "stepping": ("processor stepping", _both_known),
    "instruction_sets": ("instruction sets", _flags),
    "caches": ("", _caches),
    "microcode": ("microcode", _both_known),
    "hypervisor": ("hypervisor", _hypervisor),
}


def _named(known: Processor) -> str:
    """`AMD EPYC (family 25, model 17)`."""
    numbers = [f"{key} {value}" for key in ("family", "model") if (value := getattr(known, key)) is not None]
    name = known.name or known.vendor or "a processor without a name"
    return printable(f"{name} ({', '.join(numbers)})" if numbers else name)


def _rates(info: RunInfo) -> Rates:
    """The measured rates of a run's machine; none if other work ran when the run began, which lowers them all."""
    load = _of("load", "load_average")(info)
    if not isinstance(load, int | float) or load > MAX_QUIET_LOAD:
        return {}
    return {ceiling.place: ceiling.rates for ceiling in map(Ceiling.from_json, info.ceilings)}


def rate_differences(base: Rates, head: Rates, floor: float = MIN_APART) -> list[str]:
    """Return a clause about the rates that are further apart than both spreads together, and than `floor`.

    Only rates that both sides have are compared. The clause names the one that differs most.
    """
    common = [(place, name) for place in base if place in head for name in base[place] if name in head[place]]
    differ = []
    for place, name in common:
        then, now = base[place][name], head[place][name]
        apart = max(then.value, now.value) / min(then.value, now.value) - 1
        if apart > max(floor, (1 + then.spread) * (1 + now.spread) - 1):
            differ.append((apart, place, name, then, now))
    if not differ:
        return []
    _, (device, dtype, threads), name, then, now = max(differ, key=lambda each: each[0])
    others = len(differ) - 1
    more = f", and {others} other {'rate differs' if others == 1 else 'rates differ'}" if others else ""
    where = f"{device} {dtype}, {plural(threads, 'thread')}"
    return [printable(f"{name} reach {_rate(name, now)} and reached {_rate(name, then)} before ({where}){more}")]


def _rate(name: str, rate: Rate) -> str:
    """`127 GMAC/s` for arithmetic, `15.2 GB/s` for reads and copies."""
    giga, unit = rate.value / 1e9, "B" if name.startswith(("reads", "copies")) else "MAC"
    return f"{giga:,.0f} G{unit}/s" if giga >= 100 else f"{giga:.3g} G{unit}/s"

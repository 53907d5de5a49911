"""Whether two runs were made on one machine, and in one environment; if not, what differs.

A machine is its processor's identity, its cores, its GPUs, and its measured rates. Two processors can have one name.
"""

from collections.abc import Callable, Mapping
from typing import Any

from rnnbench.store.ceilings import Ceiling, Rate
from rnnbench.store.run_info import UNKNOWN_HYPERVISOR, Processor, RunInfo
from rnnbench.text import listed, plural

UNIDENTIFIED = "made by an rnnbench that did not record the machine's identity"
KIND = ("vendor", "family", "model", "name")  # if two of them differ, all else follows
MAX_QUIET_LOAD = 0.5  # load average over a minute of a machine on which nothing else runs
MIN_APART = 0.25  # noise leaves that much between the best rates of one machine
SIDES = ("the base", "the head")
Fact = Callable[[RunInfo], Any]


def differences(base: RunInfo, head: RunInfo, called: tuple[str, str] = SIDES) -> list[str]:
    """Return all that makes two runs incomparable, a clause for each key with both values; empty if nothing does.

    If the machines have different identities, or one has none, only that is told: the rest follows from it.
    `called` names the two runs in a clause about one of them.
    """
    # Rates come last: another torch has other rates on the same machine.
    return (
        identity_differences(base, head, called)
        or _changed(HARDWARE | SOFTWARE, base, head)
        or rate_differences(base, head)
    )


def machine_differences(base: RunInfo, head: RunInfo, called: tuple[str, str] = SIDES) -> list[str]:
    """Return what `differences` says of the machines alone; their rates are compared if the software is the same."""
    if apart := identity_differences(base, head, called) or _changed(HARDWARE, base, head):
        return apart
    return [] if _changed(SOFTWARE, base, head) else rate_differences(base, head)


def processor(info: RunInfo) -> Processor | None:
    """Return the processor of a run; None if an older rnnbench made it, which did not record it."""
    content = _of("machine", "processor")(info)
    return None if content is None else Processor.from_json(content)


def _of(part: str, key: str) -> Fact:
    """Return the function that looks a fact up in an environment, as it was recorded."""
    return lambda info: (info.environment.get(part) or {}).get(key)


def _set_limit(info: RunInfo) -> str | None:
    """Return a control group's limit of processor time; None without a limit, which not every system reports."""
    limit = _of("machine", "cgroup_cpu_limit")(info)
    return None if limit is None or limit.startswith("max") else str(limit)


def _gpus(info: RunInfo) -> list[str]:
    """Return the names that the driver tells; an older rnnbench asked its first worker."""
    told = [gpu["name"] for key, gpu in info.environment.items() if key.startswith("gpu ") and "name" in gpu]
    return told or _of("worker", "gpus")(info) or []


# What changes a ratio to torch.nn even if no cell has changed. Measured clock rates are not part of it.
HARDWARE: dict[str, Fact] = {
    "cgroup_cpu_limit": _set_limit,
    "cores": lambda info: len(_of("machine", "cores_allowed")(info) or ()),
    "gpus": _gpus,
}
WORKER = ("protocol", "python", "torch", "cuda", "cudnn", "onednn", "cpu_capability", "settings")
SOFTWARE: dict[str, Fact] = {
    **{key: _of("worker", key) for key in WORKER},
    "variables": _of("software", "variables"),
    "windows": lambda info: info.resolved.get("measure", {}).get("windows"),
    "window_seconds": lambda info: info.resolved.get("measure", {}).get("window_seconds"),
    "cold_cache": lambda info: info.resolved.get("measure", {}).get("cold_cache", False),  # now an axis
}


def _changed(facts: Mapping[str, Fact], base: RunInfo, head: RunInfo) -> list[str]:
    both = {key: (fact(base), fact(head)) for key, fact in facts.items()}
    return [f"{key} was {then!r} and is {now!r}" for key, (then, now) in both.items() if then != now]


def identity_differences(base: RunInfo, head: RunInfo, called: tuple[str, str] = SIDES) -> list[str]:
    """Return a clause for each difference between the processors of two runs; another kind of processor is one clause.

    What only one run knows of its processor is no difference, but for a hypervisor: a machine has one or has none.
    """
    then, now = processor(base), processor(head)
    if then is None or now is None:
        names = [name for name, known in zip(called, (then, now), strict=True) if known is None]
        return [f"{listed(names)} {'was' if len(names) == 1 else 'were'} {UNIDENTIFIED}"]
    apart = {key: (was, vars(now)[key]) for key, was in vars(then).items() if was != vars(now)[key]}
    if UNKNOWN_HYPERVISOR in apart.get("hypervisor", ()) and None not in apart["hypervisor"]:
        del apart["hypervisor"]  # one without a name may be any other
    known = {key: pair for key, pair in apart.items() if key == "hypervisor" or not {None, ()} & {*pair}}
    kind = [key for key in KIND if key in known]
    if len(kind) > 1:
        return [f"processor was {_named(then)} and is {_named(now)}"]
    return [_clause(key, *known[key]) for key in kind or known]


def _clause(key: str, then: Any, now: Any) -> str:
    """Return `processor stepping was 1 and is 2`; of a list only what is not on both sides."""
    if isinstance(then, tuple):
        pairs = ((then, now), (now, then))
        then, now = (", ".join(str(each) for each in side if each not in other) for side, other in pairs)
    return f"processor {key.replace('_', ' ')} was {then or 'none'} and is {now or 'none'}"


def _named(known: Processor) -> str:
    """`AMD EPYC (family 25, model 17)`."""
    return f"{known.name or known.vendor} (family {known.family}, model {known.model})"


def _rates(info: RunInfo) -> dict[tuple[str, str, int, str], Rate[Any]]:
    """Return the measured rates of a machine; none if other work ran when the run began, which lowers them all."""
    load = _of("load", "load_average")(info)
    if not isinstance(load, int | float) or load > MAX_QUIET_LOAD:
        return {}
    ceilings = map(Ceiling.from_json, info.ceilings)
    return {(*each.place, name): rate for each in ceilings for name, rate in each.rates.items()}


def rate_differences(base: RunInfo, head: RunInfo) -> list[str]:
    """Return a clause about the rate that differs most; empty if no two are further apart than noise leaves them.

    Noise leaves `MIN_APART`, or both spreads together. Only rates that both sides have are compared.
    """
    before, after, apart = _rates(base), _rates(head), {}
    for key in before.keys() & after.keys():
        then, now = before[key], after[key]
        ratio = max(then.value, now.value) / min(then.value, now.value)
        if ratio > max(1 + MIN_APART, (1 + then.spread) * (1 + now.spread)):
            apart[key] = ratio
    if not apart:
        return []
    key = max(apart, key=apart.__getitem__)
    device, dtype, threads, name = key
    unit = "B" if name.startswith(("reads", "copies")) else "MAC"
    reach, reached = (f"{side[key].value / 1e9:,.4g} G{unit}/s" for side in (after, before))
    return [f"{name} reach {reach} and reached {reached} before ({device} {dtype}, {plural(threads, 'thread')})"]

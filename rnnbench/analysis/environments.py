"""Whether two runs were made on one machine, and in one environment; if not, what differs.

A machine is its processor's identity, its cores, its GPUs, and its measured rates. Two processors can have one name.
"""

from collections.abc import Callable
from typing import Any

from rnnbench.store.ceilings import Ceiling, Rate
from rnnbench.store.run_info import UNKNOWN_HYPERVISOR, Processor, RunInfo
from rnnbench.text import plural

KIND = ("vendor", "family", "model", "name")  # if two of them differ, all else follows
CARD_FACTS = (  # of a GPU, which change its times though its name is the same
    "driver_version",
    "memory_total_bytes",
    "power_limit_watts",
    "max_sm_clock_mhz",
    "max_memory_clock_mhz",
    "ecc",
    "mig",
    "compute_mode",
)
MOST_CLOCKS_APART = 1.02  # times the slower of two clock rates of a GPU at which times can be compared
MAX_QUIET_LOAD = 0.5  # load average over a minute of a machine on which nothing else runs
MIN_RATES_APART = 0.25  # noise leaves that much between the best rates of one machine
WORKER = ("protocol", "python", "torch", "cuda", "cudnn", "onednn", "cpu_capability", "settings")


def differences(base: RunInfo, head: RunInfo) -> list[str]:
    """Return all that makes two runs incomparable, a clause for each key with both values; empty if nothing does.

    If the machines have different identities, or one has none, only that is told: the rest follows from it.
    """
    # Rates come last: another torch has other rates on the same machine.
    return (
        identity_differences(base, head)
        or [*_changed(_hardware, base, head), *_changed(_software, base, head)]
        or rate_differences(base, head)
    )


def machine_differences(base: RunInfo, head: RunInfo) -> list[str]:
    """Return what `differences` says of the machines alone; their rates are compared if the software is the same."""
    if apart := identity_differences(base, head) or _changed(_hardware, base, head):
        return apart
    return [] if _changed(_software, base, head) else rate_differences(base, head)


def processor(info: RunInfo) -> Processor | None:
    """Return the processor of a run; None if it was not recorded."""
    content = (info.environment.get("machine") or {}).get("processor")
    return None if content is None else Processor.from_json(content)


def _hardware(info: RunInfo) -> dict[str, Any]:
    """Return what a run could use of its machine, which changes a ratio to torch.nn even if no cell has changed."""
    machine = info.environment.get("machine") or {}
    limit = str(machine.get("cgroup_cpu_limit") or "max")  # of processor time; not every system reports one
    worker = info.environment.get("worker") or {}
    # Of the cards that its cases used
    cards_by_name = {name: card for name, cards in (worker.get("devices") or {}).items() for card in cards}
    of_cards: dict[str, Any] = {}
    for device, card in cards_by_name.items():
        of_cards |= {f"{device} {fact.replace('_', ' ')}": card[fact] for fact in CARD_FACTS if fact in card}
    return {
        "cgroup_cpu_limit": None if limit.startswith("max") else limit,
        "cores": len(machine.get("cores_allowed") or ()),
        "gpus": [card["name"] for card in cards_by_name.values()],
        **of_cards,
    }


def _software(info: RunInfo) -> dict[str, Any]:
    """Return the software and the settings that change a ratio to torch.nn even if no cell has changed."""
    worker = info.environment.get("worker") or {}
    measure = info.resolved.get("measure", {})
    return {
        **{key: worker.get(key) for key in WORKER},
        "variables": (info.environment.get("software") or {}).get("variables"),
        "windows": measure.get("windows"),
        "window_seconds": measure.get("window_seconds"),
        "preheat_seconds": measure.get("preheat_seconds", 0.0),
    }


def _changed(facts: Callable[[RunInfo], dict[str, Any]], base: RunInfo, head: RunInfo) -> list[str]:
    then = facts(base)
    now = facts(head)
    both = [key for key in then if key in now]  # what only one run knows of its GPU is no difference
    return [f"{key} was {then[key]!r} and is {now[key]!r}" for key in both if then[key] != now[key]]


def identity_differences(base: RunInfo, head: RunInfo) -> list[str]:
    """Return a clause for each difference between the processors of two runs; another kind of processor is one clause.

    What only one run knows of its processor is no difference, but for a hypervisor: a machine has one or has none.
    """
    then = processor(base)
    now = processor(head)
    if then is None or now is None:
        day = (base if then is None else head).started[:10]
        return [f"the run of {day} does not say what machine it is of"]
    apart = {key: (was, vars(now)[key]) for key, was in vars(then).items() if was != vars(now)[key]}
    if UNKNOWN_HYPERVISOR in apart.get("hypervisor", ()) and None not in apart["hypervisor"]:
        del apart["hypervisor"]  # one without a name may be any other
    on_both = {key: pair for key, pair in apart.items() if key == "hypervisor" or not {None, ()} & {*pair}}
    kind = [key for key in KIND if key in on_both]
    if len(kind) > 1:
        was = f"{then.name or then.vendor} (family {then.family}, model {then.model})"
        is_now = f"{now.name or now.vendor} (family {now.family}, model {now.model})"
        return [f"processor was {was} and is {is_now}"]
    return [_clause(key, *on_both[key]) for key in kind or on_both]


def _clause(key: str, then: Any, now: Any) -> str:
    """Return `processor stepping was 1 and is 2`; of a list only what is not on both sides."""
    if isinstance(then, tuple):
        was = ", ".join(str(each) for each in then if each not in now)
        is_now = ", ".join(str(each) for each in now if each not in then)
        return _clause(key, was, is_now)
    return f"processor {key.replace('_', ' ')} was {then or 'none'} and is {now or 'none'}"


def clock_difference(base: float | None, head: float | None) -> str:
    """Return a clause if a GPU ran at unlike clock rates, in MHz; empty if they are alike, or if one is not known."""
    if base is None or head is None or max(base, head) <= MOST_CLOCKS_APART * min(base, head):
        return ""
    return f"the clock of the GPU ran at {base:,.0f} MHz in the base and at {head:,.0f} MHz in the head"


def _rates(info: RunInfo) -> dict[tuple[str, str, int, str], Rate[Any]]:
    """Return the measured rates of a machine; none if other work ran when the run began, which lowers them all."""
    load = (info.environment.get("load") or {}).get("load_average")
    if not isinstance(load, int | float) or load > MAX_QUIET_LOAD:
        return {}
    ceilings = map(Ceiling.from_json, info.ceilings)
    return {(*each.place, name): rate for each in ceilings for name, rate in each.rates.items()}


def rate_differences(base: RunInfo, head: RunInfo) -> list[str]:
    """Return a clause about the rate that differs most; empty if no two are further apart than noise leaves them.

    Noise leaves `MIN_RATES_APART`, or both spreads together. Only rates that both sides have are compared.
    """
    before = _rates(base)
    after = _rates(head)
    apart = {}
    for key in before.keys() & after.keys():
        then = before[key]
        now = after[key]
        ratio = max(then.value, now.value) / min(then.value, now.value)
        if ratio > max(1 + MIN_RATES_APART, (1 + then.spread) * (1 + now.spread)):
            apart[key] = ratio
    if not apart:
        return []
    key = max(apart, key=apart.__getitem__)
    device, dtype, threads, name = key
    unit = "B" if name.startswith(("reads", "copies")) else "MAC"
    reach = f"{after[key].value / 1e9:,.4g} G{unit}/s"
    reached = f"{before[key].value / 1e9:,.4g} G{unit}/s"
    return [f"{name} reach {reach} and reached {reached} before ({device} {dtype}, {plural(threads, 'thread')})"]

"""What differs between two processors. Two of them can have one name."""

from collections.abc import Sequence

from rnnbench.store.processor import UNKNOWN_HYPERVISOR, Cache, Processor
from rnnbench.text import printable

KIND = ("vendor", "family", "model", "name")  # if two of them differ, all else follows
MAX_NAMED = 3  # instruction sets
UNIDENTIFIED = "made by an rnnbench that did not record the machine's identity"


def identity_differences(then: Processor | None, now: Processor | None, called: tuple[str, str]) -> list[str]:
    """A clause for each difference between the processors of two runs.

    `then`, `now`: None if the run did not record its processor; a clause that says so calls the two runs as `called`.
    """
    if then is not None and now is not None:
        return processor_differences(then, now)
    names = [name for name, known in zip(called, (then, now), strict=True) if known is None]
    return [f"{' and '.join(names)} {'was' if len(names) == 1 else 'were'} {UNIDENTIFIED}"]


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
    hypervisors = {then.hypervisor, now.hypervisor}
    if len(hypervisors) == 2 and (None in hypervisors or UNKNOWN_HYPERVISOR not in hypervisors):
        clauses.append(_clause("hypervisor", then.hypervisor, now.hypervisor))
    return clauses


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

"""Checks of the records in a run's files: each returns the first problem in words, or an empty text."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, get_args, get_type_hints

from rnnbench.store import names
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.processor import Processor
from rnnbench.store.profiles import CATEGORIES, PARTS, Cause, CauseKind, Kernels, Operator, Products, ProfileStatus
from rnnbench.store.records import DEFAULTS, Failure, Status, Window, Workload, key
from rnnbench.store.value_kinds import (
    ANY_LIST,
    COUNT,
    ERROR,
    METRIC,
    MORE,
    NUMBER,
    OBJECT,
    PLAIN_TREE,
    PRECISION,
    SECONDS,
    SIZE,
    TEXT,
    Kinds,
    ValueKind,
    first_fault,
    list_of,
    object_of,
    one_of,
    or_none,
    row_of,
    shown,
    table_of,
)

SUITE = ValueKind("letters, digits, '.', '_' and '-', none of these three first", names.is_suite)
RUN = ValueKind("an id of at most 32 letters and digits", names.is_run)
WORKER = ValueKind("a number, after a part's name where there is one", names.is_worker)
INSIDE = ValueKind("a path inside the run's folder", names.is_inside)
OF_TYPES: dict[Any, ValueKind] = {
    str: TEXT,
    int: SIZE,
    float: SECONDS,
    bool: ValueKind("true or false", lambda value: isinstance(value, bool)),
}


def _of_type(hint: Any) -> ValueKind:
    """The kind of an axis, by the type of its field."""
    return OF_TYPES[hint] if hint in OF_TYPES else one_of(*_words(hint))


def _words(hint: Any) -> list[str]:
    """The words of a Literal, or of a union of some."""
    return [word for part in get_args(hint) for word in ([part] if isinstance(part, str) else _words(part))]


def is_ceiling(value: object) -> bool:
    """Whether this is a valid ceiling of a machine, without a rate of zero."""
    return isinstance(value, dict) and any(
        value.keys() == kinds.keys() and not first_fault(value, kinds) for kinds in (CEILING, OLDER_CEILING)
    )


AXIS = {
    "cell": TEXT,
    "implementation": TEXT,  # a newer rnnbench has others, whose times can be read
    **{name: _of_type(hint) for name, hint in get_type_hints(Workload).items()},
    "reference": TEXT,  # also another cell
    **dict.fromkeys(("output_len", "samples", "workers"), COUNT),
}
MEASUREMENT: Kinds = {
    "case": TEXT,
    **AXIS,
    "status": one_of(*get_args(Status)),
    "reason": TEXT,
    "failure": one_of(*get_args(Failure)),
    "parity": TEXT,
    "parity_error": or_none(ERROR),
    "suspicion": TEXT,
    "backend": TEXT,
    "warmup_windows": or_none(COUNT),
    **{metric.name: or_none(METRIC) for metric in OBSERVED},
    "missing": table_of(TEXT),
}
WINDOW: Kinds = {
    **{field.name: COUNT for field in fields(Window)},
    **{"case": TEXT, "worker": WORKER, "run": RUN},
    **dict.fromkeys(("turns", "calls", "batch"), SIZE),
    **dict.fromkeys(("started", "submit_seconds"), SECONDS),
    **dict.fromkeys(("seconds", "host_seconds"), MORE),
    "quantiles": list_of(MORE, least=1),
    "cores": list_of(COUNT),
    "clock_mhz": or_none(METRIC),
    "device_uuid": or_none(TEXT),
}
CEILING: Kinds = {
    **dict.fromkeys(("device", "dtype"), TEXT),
    "threads": SIZE,
    "dispatch_seconds": MORE,
    "launch_seconds": or_none(MORE),
    "products": list_of(row_of("[library, a second, spread]", TEXT, MORE, SECONDS), least=1),
    "copies": list_of(row_of("[bytes, a second, spread]", MORE, MORE, SECONDS), least=1),
    "reads": list_of(row_of("[bytes, a second, spread]", MORE, MORE, SECONDS)),
}
OLDER_CEILING: Kinds = {
    **{name: kind for name, kind in CEILING.items() if name not in ("products", "reads")},
    "macs_per_second": MORE,
    "copies": list_of(row_of("[bytes, a second]", MORE, MORE), least=1),
}
CACHE: Kinds = {"level": COUNT, "kind": TEXT, "bytes": COUNT, "cores": SIZE}
PROCESSOR: Kinds = {
    **{field.name: or_none(TEXT) for field in fields(Processor)},
    "instruction_sets": list_of(TEXT),
    "caches": list_of(object_of("a cache", CACHE)),
}
IDENTITY = object_of("the identity of a processor", PROCESSOR)
INFO: Kinds = {
    "id": RUN,
    "suite": SUITE,
    **dict.fromkeys(("description", "command", "started"), TEXT),
    **dict.fromkeys(("resolved", "environment"), PLAIN_TREE),
    "status": one_of("running", "finished", "interrupted"),
    **dict.fromkeys(("seconds", "seconds_needed"), or_none(SECONDS)),
    "replicates": COUNT,
    "ceilings": list_of(ValueKind("the limits of a machine", is_ceiling)),
    "stage_seconds": table_of(SECONDS),
    "notes": list_of(TEXT),
}
OPERATOR: Kinds = {
    **dict.fromkeys(("name", "shapes"), TEXT),
    "category": one_of(*CATEGORIES),
    "part": one_of(*PARTS),
    "calls": SIZE,
    "new_bytes": COUNT,
    **dict.fromkeys(("seconds", "idle_seconds"), list_of(SECONDS)),
}
CAUSE: Kinds = {
    "kind": one_of(*get_args(CauseKind)),
    "what": TEXT,
    "calls": COUNT,
    "seconds": list_of(NUMBER),
}
KERNELS: Kinds = {
    **dict.fromkeys(("launches", "host_waits"), COUNT),
    "seconds": table_of(SECONDS, one_of(*CATEGORIES)),
}
PRODUCTS: Kinds = {
    "library": TEXT,
    "calls": COUNT,
    **dict.fromkeys(("seconds", "idle_seconds"), table_of(list_of(SECONDS))),
}
PROFILE: Kinds = {
    **dict.fromkeys(("case", "reason", "opaque", "no_kernels"), TEXT),
    "status": one_of(*get_args(ProfileStatus)),
    "steps": SIZE,
    "times": table_of(list_of(MORE, least=1)),
    **dict.fromkeys(("operators", "causes"), list_of(OBJECT)),
    **dict.fromkeys(("products", "kernels"), or_none(OBJECT)),
    **dict.fromkeys(("allocations", "peak_bytes"), or_none(COUNT)),
    "files": table_of(INSIDE),
    "notes": list_of(TEXT),
}
BRANCHES = {"environment": ("machine", "worker", "software", "load"), "resolved": ("measure", "check")}
CARDS = list_of(
    ValueKind("a card with a name", lambda value: isinstance(value, dict) and TEXT.holds(value.get("name")))
)
ENVIRONMENT: dict[tuple[str, ...], Kinds] = {  # of its branches, by their path
    (): dict.fromkeys(("git", "slurm"), or_none(OBJECT)),
    ("machine",): {"cores_allowed": ANY_LIST, "processor": IDENTITY},
    ("worker",): {"devices": table_of(CARDS)},
    ("software",): {"packages": or_none(OBJECT)},
}
PROFILE_PARTS: dict[str, tuple[Kinds, Any]] = {
    "operators": (OPERATOR, Operator),
    "causes": (CAUSE, Cause),
    "products": (PRODUCTS, Products),
    "kernels": (KERNELS, Kernels),
}
TIMED = ("call",)  # arms whose times every successful profile has
BEGINNINGS = ("forward", "forward_backward")  # of the call, whose times are subtracted from it round by round
# Keys that every version has written.
MEASUREMENT_KEYS = ("case", *(name for name in AXIS if name not in DEFAULTS), "status")
WINDOW_KEYS = tuple(name for name in WINDOW if name not in ("submit_seconds", "device_uuid", "waits", "run"))
PROFILE_KEYS = ("case", "status", "times")
INFO_KEYS = ("suite", "description", "command", "started", "resolved", "environment")


def measurement_fault(line: Mapping[str, Any]) -> str:
    """The first problem of a line of `measurements.jsonl`; empty if the line is valid."""
    if fault := first_fault(line, MEASUREMENT, MEASUREMENT_KEYS):
        return fault
    expected = key(line)
    return "" if line["case"] == expected else f"case: is not that of its axes, {shown(expected)}"


def window_fault(line: Mapping[str, Any]) -> str:
    """The first problem of a line of `windows-<worker>.jsonl`; empty if the line is valid."""
    fault = first_fault(line, WINDOW, WINDOW_KEYS)
    if fault or line["order"] < line["turns"]:
        return fault
    return f"order: expected less than turns, which is {line['turns']}, found {line['order']}"


def profile_fault(line: Mapping[str, Any]) -> str:
    """The first problem of a line of `profiles.jsonl`; empty if the line is valid."""
    if fault := first_fault(line, PROFILE, PROFILE_KEYS) or _part_fault(line):
        return fault
    if line["status"] != "profiled":
        return ""
    times = line["times"]
    for arm in TIMED:
        if arm not in times:
            return f"times.{arm}: missing"
    rounds = len(times["call"])
    lists = {f"times.{arm}": times[arm] for arm in (*TIMED, *BEGINNINGS) if arm in times}
    for index, operator in enumerate(line.get("operators", ())):
        lists |= {f"operators[{index}].{name}": operator.get(name, ()) for name in ("seconds", "idle_seconds")}
    unlike = next((name for name, values in lists.items() if len(values) != rounds), None)
    return (
        "" if unlike is None else f"{unlike}: expected {rounds} rounds, as times.call has, found {len(lists[unlike])}"
    )


def _part_fault(line: Mapping[str, Any]) -> str:
    """The first problem of the objects in a profile; empty if all are valid."""
    lists = [(name, line.get(name, ())) for name in ("operators", "causes")]
    parts = {f"{name}[{index}]": part for name, items in lists for index, part in enumerate(items)}
    parts |= {name: line[name] for name in ("products", "kernels") if line.get(name) is not None}
    for name, part in parts.items():
        kinds, record = PROFILE_PARTS[name.partition("[")[0]]
        if fault := first_fault(part, kinds, [field.name for field in fields(record) if field.default is MISSING]):
            return f"{name}.{fault}"
    return ""


def info_fault(content: Mapping[str, Any]) -> str:
    """The first problem of the content of `run.json`; empty if it is valid."""
    if fault := first_fault(content, INFO, INFO_KEYS):
        return fault
    for name, branches in BRANCHES.items():
        for branch in branches:
            if not isinstance(content[name].get(branch, {}), dict):
                return f"{name}.{branch}: expected an object, found {shown(content[name][branch])}"
    for name in ("precision", "period_seconds"):
        if not PRECISION.holds(value := content["resolved"].get("measure", {}).get(name)):
            return f"resolved.measure.{name}: expected {PRECISION.words}, found {shown(value)}"
    environment = content["environment"]
    for path, kinds in ENVIRONMENT.items():
        branch = environment.get(path[0], {}) if path else environment
        if fault := first_fault(branch, kinds):
            return ".".join(("environment", *path, fault))
    return ""

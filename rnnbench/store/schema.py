"""Checks of the records in a run's files: each returns the first problem in words, or an empty text."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_args, get_type_hints

from rnnbench.store import names
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.processor import Processor
from rnnbench.store.profiles import CATEGORIES, PARTS, Cause, CauseKind, Kernels, Operator, Products, ProfileStatus
from rnnbench.store.records import DEFAULTS, Failure, Reference, Status, Window, Workload, key

MAX_INTEGER = 1 << 63  # frames hold whole numbers below this
MAX_SHOWN_LENGTH = 40  # characters of a wrong value


@dataclass(frozen=True)
class ValueKind:
    """What a value must be."""

    words: str
    holds: Callable[[Any], bool]


Kinds = Mapping[str, ValueKind]


def _is_text(value: object) -> bool:
    """Whether this is text that can be written: JSON may hold lone surrogates, which no file accepts."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value))


def _is_number(value: object, least: float = -1e300) -> bool:
    return type(value) in (int, float) and least <= value <= 1e300  # type: ignore[operator]


def _whole(least: int) -> ValueKind:
    return ValueKind(
        f"a whole number of {least} or more", lambda value: type(value) is int and least <= value < MAX_INTEGER
    )


def _or_none(kind: ValueKind) -> ValueKind:
    return ValueKind(f"{kind.words}, or null", lambda value: value is None or kind.holds(value))


def _list_of(kind: ValueKind, least: int = 0) -> ValueKind:
    return ValueKind(
        f"a list, each {kind.words}",
        lambda value: isinstance(value, list) and len(value) >= least and all(map(kind.holds, value)),
    )


def _row_of(words: str, *kinds: ValueKind) -> ValueKind:
    return ValueKind(
        words,
        lambda value: (
            isinstance(value, list)
            and len(value) == len(kinds)
            and all(kind.holds(item) for kind, item in zip(kinds, value, strict=True))
        ),
    )


def _table_of(kind: ValueKind, keys: ValueKind | None = None) -> ValueKind:
    return ValueKind(
        f"an object, each {kind.words}{f' by {keys.words}' if keys else ''}",
        lambda value: (
            isinstance(value, dict) and all(map((keys or TEXT).holds, value)) and all(map(kind.holds, value.values()))
        ),
    )


def _object_of(words: str, kinds: Kinds) -> ValueKind:
    """An object with exactly these keys."""
    return ValueKind(
        words, lambda value: isinstance(value, dict) and value.keys() == kinds.keys() and not _fault(value, kinds)
    )


def _one_of(*words: str) -> ValueKind:
    return ValueKind(f"one of {', '.join(words)}", lambda value: value in words if isinstance(value, str) else False)


def _is_plain(value: object) -> bool:
    """Whether all text of a JSON value can be written, and its whole numbers fit into frames."""
    match value:
        case dict():
            return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
        case list():
            return all(map(_is_plain, value))
        case str():
            return _is_text(value)
        case int():
            return abs(value) < MAX_INTEGER
    return True


def is_ceiling(value: object) -> bool:
    """Whether this is a valid ceiling of a machine, without a rate of zero."""
    return isinstance(value, dict) and any(
        value.keys() == kinds.keys() and not _fault(value, kinds) for kinds in (CEILING, OLDER_CEILING)
    )


TEXT = ValueKind("text", _is_text)
COUNT = _whole(0)
SIZE = _whole(1)
SECONDS = ValueKind("a number of 0 or more", lambda value: _is_number(value, 0.0))
MORE = ValueKind("a number above 0", lambda value: _is_number(value, 1e-300))
NUMBER = ValueKind("a number", _is_number)
METRIC = ValueKind("a number", lambda value: _is_number(value) or value != value)  # noqa: PLR0124 - or NaN: not known
ERROR = ValueKind(
    "a number", lambda value: type(value) is float or _is_number(value)
)  # of outputs that may be infinite
PRECISION = _or_none(MORE)
ANY_LIST = ValueKind("a list", lambda value: isinstance(value, list))
OBJECT = ValueKind("an object", lambda value: isinstance(value, dict))
SUITE = ValueKind("letters, digits, '.', '_' and '-', none of these three first", names.is_suite)
RUN = ValueKind("an id of at most 32 letters and digits", names.is_run)
WORKER = ValueKind("a number, after a part's name where there is one", names.is_worker)
INSIDE = ValueKind("a path inside the run's folder", names.is_inside)
PLAIN_TREE = ValueKind("an object of plain values", lambda value: isinstance(value, dict) and _is_plain(value))

OF_TYPES: dict[Any, ValueKind] = {
    str: TEXT,
    int: SIZE,
    float: SECONDS,
    bool: ValueKind("true or false", lambda value: isinstance(value, bool)),
}


def _of_type(hint: Any) -> ValueKind:
    """The kind of an axis, by the type of its field."""
    return OF_TYPES[hint] if hint in OF_TYPES else _one_of(*_words(hint))


def _words(hint: Any) -> list[str]:
    """The words of a Literal, or of a union of some."""
    return [word for part in get_args(hint) for word in ([part] if isinstance(part, str) else _words(part))]


AXIS = {
    "cell": TEXT,
    "implementation": TEXT,  # a newer rnnbench has others, whose times can be read
    **{name: _of_type(hint) for name, hint in get_type_hints(Workload).items()},
    "reference": _one_of(*_words(Reference)),
    **dict.fromkeys(("output_len", "samples", "workers"), COUNT),
}
MEASUREMENT: Kinds = {
    "case": TEXT,
    **AXIS,
    "status": _one_of(*get_args(Status)),
    "reason": TEXT,
    "failure": _one_of(*get_args(Failure)),
    "parity": TEXT,
    "parity_error": _or_none(ERROR),
    "suspicion": TEXT,
    "backend": TEXT,
    "warmup_windows": _or_none(COUNT),
    **{metric.name: _or_none(METRIC) for metric in OBSERVED},
    "missing": _table_of(TEXT),
}
WINDOW: Kinds = {
    **{field.name: COUNT for field in fields(Window)},
    **{"case": TEXT, "worker": WORKER, "run": RUN},
    **dict.fromkeys(("turns", "calls", "batch"), SIZE),
    **dict.fromkeys(("started", "submit_seconds"), SECONDS),
    **dict.fromkeys(("seconds", "host_seconds"), MORE),
    "quantiles": _list_of(MORE, least=1),
    "cores": _list_of(COUNT),
    "clock_mhz": _or_none(METRIC),
    "device_uuid": _or_none(TEXT),
}
CEILING: Kinds = {
    **dict.fromkeys(("device", "dtype"), TEXT),
    "threads": SIZE,
    "dispatch_seconds": MORE,
    "launch_seconds": _or_none(MORE),
    "products": _list_of(_row_of("[library, a second, spread]", TEXT, MORE, SECONDS), least=1),
    "copies": _list_of(_row_of("[bytes, a second, spread]", MORE, MORE, SECONDS), least=1),
    "reads": _list_of(_row_of("[bytes, a second, spread]", MORE, MORE, SECONDS)),
}
OLDER_CEILING: Kinds = {
    **{name: kind for name, kind in CEILING.items() if name not in ("products", "reads")},
    "macs_per_second": MORE,
    "copies": _list_of(_row_of("[bytes, a second]", MORE, MORE), least=1),
}
CACHE: Kinds = {"level": COUNT, "kind": TEXT, "bytes": COUNT, "cores": SIZE}
PROCESSOR: Kinds = {
    **{field.name: _or_none(TEXT) for field in fields(Processor)},
    "instruction_sets": _list_of(TEXT),
    "caches": _list_of(_object_of("a cache", CACHE)),
}
IDENTITY = _object_of("the identity of a processor", PROCESSOR)
INFO: Kinds = {
    "id": RUN,
    "suite": SUITE,
    **dict.fromkeys(("description", "command", "started"), TEXT),
    **dict.fromkeys(("resolved", "environment"), PLAIN_TREE),
    "status": _one_of("running", "finished", "interrupted"),
    "seconds": _or_none(SECONDS),
    "replicates": COUNT,
    "ceilings": _list_of(ValueKind("the limits of a machine", is_ceiling)),
    "stage_seconds": _table_of(SECONDS),
    "notes": _list_of(TEXT),
}
OPERATOR: Kinds = {
    **dict.fromkeys(("name", "shapes"), TEXT),
    "category": _one_of(*CATEGORIES),
    "part": _one_of(*PARTS),
    "calls": SIZE,
    "new_bytes": COUNT,
    **dict.fromkeys(("seconds", "idle_seconds"), _list_of(SECONDS)),
    "profiler_seconds": _or_none(NUMBER),
}
CAUSE: Kinds = {
    "kind": _one_of(*get_args(CauseKind)),
    **dict.fromkeys(("what", "note"), TEXT),
    "calls": COUNT,
    "seconds": _list_of(NUMBER),
}
KERNELS: Kinds = {
    **dict.fromkeys(("launches", "host_waits"), COUNT),
    "seconds": _table_of(SECONDS, _one_of(*CATEGORIES)),
}
PRODUCTS: Kinds = {
    "library": TEXT,
    "calls": COUNT,
    **dict.fromkeys(("seconds", "idle_seconds"), _table_of(_list_of(SECONDS))),
}
PROFILE: Kinds = {
    **dict.fromkeys(("case", "reason", "opaque", "no_kernels"), TEXT),
    "status": _one_of(*get_args(ProfileStatus)),
    "steps": SIZE,
    "times": _table_of(_list_of(MORE, least=1)),
    **dict.fromkeys(("operators", "causes"), _list_of(OBJECT)),
    **dict.fromkeys(("products", "kernels"), _or_none(OBJECT)),
    **dict.fromkeys(("allocations", "allocated_bytes"), _or_none(COUNT)),
    "memory": _list_of(_row_of("[seconds, bytes]", SECONDS, COUNT)),
    "memory_parts": _list_of(_row_of("[part, seconds]", _one_of(*PARTS), SECONDS)),
    "files": _table_of(INSIDE),
    "notes": _list_of(TEXT),
}
BRANCHES = {"environment": ("machine", "worker", "software", "load"), "resolved": ("measure", "check")}
PROFILE_PARTS: dict[str, tuple[Kinds, Any]] = {
    "operators": (OPERATOR, Operator),
    "causes": (CAUSE, Cause),
    "products": (PRODUCTS, Products),
    "kernels": (KERNELS, Kernels),
}
TIMED = ("call", "unprofiled", "profiled")  # arms whose times every successful profile has
BEGINNINGS = ("forward", "forward_backward")  # of the call, whose times are subtracted from it round by round
# Keys that every version has written.
MEASUREMENT_KEYS = ("case", *(name for name in AXIS if name not in DEFAULTS), "status")
WINDOW_KEYS = tuple(name for name in WINDOW if name not in ("submit_seconds", "device_uuid", "run"))
PROFILE_KEYS = ("case", "status", "times")
INFO_KEYS = ("suite", "description", "command", "started", "resolved", "environment")


def measurement_fault(line: Mapping[str, Any]) -> str:
    """The first problem of a line of `measurements.jsonl`; empty if the line is valid."""
    if fault := _fault(line, MEASUREMENT, MEASUREMENT_KEYS):
        return fault
    expected = key(line)
    return "" if line["case"] == expected else f"case: is not that of its axes, {shown(expected)}"


def window_fault(line: Mapping[str, Any]) -> str:
    """The first problem of a line of `windows-<worker>.jsonl`; empty if the line is valid."""
    fault = _fault(line, WINDOW, WINDOW_KEYS)
    if fault or line["order"] < line["turns"]:
        return fault
    return f"order: expected less than turns, which is {line['turns']}, found {line['order']}"


def profile_fault(line: Mapping[str, Any]) -> str:
    """The first problem of a line of `profiles.jsonl`; empty if the line is valid."""
    if fault := _fault(line, PROFILE, PROFILE_KEYS) or _part_fault(line):
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
        if fault := _fault(part, kinds, [field.name for field in fields(record) if field.default is MISSING]):
            return f"{name}.{fault}"
    return ""


def info_fault(content: Mapping[str, Any]) -> str:
    """The first problem of the content of `run.json`; empty if it is valid."""
    if fault := _fault(content, INFO, INFO_KEYS):
        return fault
    for name, branches in BRANCHES.items():
        for branch in branches:
            if not isinstance(content[name].get(branch, {}), dict):
                return f"{name}.{branch}: expected an object, found {shown(content[name][branch])}"
    if not PRECISION.holds(precision := content["resolved"].get("measure", {}).get("precision")):
        return f"resolved.measure.precision: expected {PRECISION.words}, found {shown(precision)}"
    machine = content["environment"].get("machine", {})
    fault = _fault(machine, {"cores_allowed": ANY_LIST, "processor": IDENTITY})
    return fault and f"environment.machine.{fault}"


def _fault(line: Mapping[str, Any], kinds: Kinds, needed: Iterable[str] = ()) -> str:
    for name in needed:
        if name not in line:
            return f"{name}: missing"
    for name, kind in kinds.items():
        if name in line and not kind.holds(line[name]):
            return f"{name}: expected {kind.words}, found {shown(line[name])}"
    return ""


def shown(value: object) -> str:
    """A value as messages show it: short, and in characters that every terminal has."""
    try:
        text = ascii(value) if not isinstance(value, int) or abs(value) < MAX_INTEGER else "a number that is too large"
    except ValueError:  # it holds a number with more digits than Python writes
        return "a value that is too large"
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: MAX_SHOWN_LENGTH - 3]}..."

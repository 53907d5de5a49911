"""What the records in a run's files must be, to be read: what is wrong with one in words, or nothing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args, get_type_hints

from rnnbench.store.metrics import OBSERVED
from rnnbench.store.records import DEFAULTS, Reference, Status, Window, Workload, key

MOST = 1 << 63  # what frames hold as whole numbers
LONGEST_NUMBER = 10  # digits
LONGEST_SHOWN = 40  # characters of a value that is wrong


@dataclass(frozen=True)
class Kind:
    """What a value has to be."""

    words: str
    holds: Callable[[Any], bool]


Kinds = Mapping[str, Kind]


def _is_text(value: object) -> bool:
    """Text that can be written: JSON may hold halves of characters, which no file takes."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value))


def _is_number(value: object, least: float = -1e300) -> bool:
    return type(value) in (int, float) and least <= value <= 1e300  # type: ignore[operator]


def _whole(least: int) -> Kind:
    return Kind(f"a whole number of {least} or more", lambda value: type(value) is int and least <= value < MOST)


def _or_none(kind: Kind) -> Kind:
    return Kind(f"{kind.words}, or null", lambda value: value is None or kind.holds(value))


def _list_of(kind: Kind, least: int = 0) -> Kind:
    return Kind(
        f"a list, each {kind.words}",
        lambda value: isinstance(value, list) and len(value) >= least and all(map(kind.holds, value)),
    )


def _table_of(kind: Kind) -> Kind:
    return Kind(
        f"an object, each {kind.words}",
        lambda value: isinstance(value, dict) and all(map(TEXT.holds, value)) and all(map(kind.holds, value.values())),
    )


def _one_of(*words: str) -> Kind:
    return Kind(f"one of {', '.join(words)}", lambda value: value in words if isinstance(value, str) else False)


def _is_plain(value: object) -> bool:
    """JSON all of whose texts can be written."""
    match value:
        case dict():
            return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
        case list():
            return all(map(_is_plain, value))
        case str():
            return _is_text(value)
        case int():
            return abs(value) < MOST
    return True


def _is_ceiling(value: object) -> bool:
    """Whether it is a machine's limits, of which none is zero."""
    return isinstance(value, dict) and value.keys() == CEILING.keys() and not _fault(value, CEILING)


TEXT = Kind("text", _is_text)
COUNT = _whole(0)
SIZE = _whole(1)
SECONDS = Kind("a number of 0 or more", lambda value: _is_number(value, 0.0))
MORE = Kind("a number above 0", lambda value: _is_number(value, 1e-300))
METRIC = Kind("a number", lambda value: _is_number(value) or value != value)  # noqa: PLR0124 - or NaN: not known
ERROR = Kind("a number", lambda value: type(value) is float or _is_number(value))  # of outputs that may be infinite
PRECISION = _or_none(MORE)
PLAIN_TREE = Kind("an object of plain values", lambda value: isinstance(value, dict) and _is_plain(value))

OF_TYPES: dict[Any, Kind] = {
    str: TEXT,
    int: SIZE,
    float: SECONDS,
    bool: Kind("true or false", lambda value: isinstance(value, bool)),
}


def _of_type(hint: Any) -> Kind:
    """Of an axis, by the type of its field."""
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
    "parity": TEXT,
    "parity_error": _or_none(ERROR),
    "backend": TEXT,
    "warmup_windows": _or_none(COUNT),
    **{metric.name: _or_none(METRIC) for metric in OBSERVED},
    "missing": _table_of(TEXT),
}
WINDOW: Kinds = {
    **{field.name: COUNT for field in fields(Window)},
    **dict.fromkeys(("case", "worker"), TEXT),
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
    "macs_per_second": MORE,
    "copies": _list_of(
        Kind(
            "[bytes, a second]",
            lambda value: isinstance(value, list) and len(value) == 2 and all(map(MORE.holds, value)),
        ),
        least=1,
    ),
    "dispatch_seconds": MORE,
    "launch_seconds": _or_none(MORE),
}
INFO: Kinds = {
    **dict.fromkeys(("suite", "description", "command", "started"), TEXT),
    **dict.fromkeys(("resolved", "environment"), PLAIN_TREE),
    "status": _one_of("running", "finished", "interrupted"),
    "seconds": _or_none(SECONDS),
    "replicates": COUNT,
    "ceilings": _list_of(Kind("the limits of a machine", _is_ceiling)),
    "stage_seconds": _table_of(SECONDS),
    "notes": _list_of(TEXT),
}
BRANCHES = {"environment": ("machine", "worker", "software", "load"), "resolved": ("measure", "check")}
# What every rnnbench has written.
MEASUREMENT_KEYS = ("case", *(name for name in AXIS if name not in DEFAULTS), "status")
WINDOW_KEYS = tuple(name for name in WINDOW if name not in ("submit_seconds", "device_uuid"))
INFO_KEYS = ("suite", "description", "command", "started", "resolved", "environment")


def measurement_fault(line: Mapping[str, Any]) -> str:
    """What is wrong with a line of `measurements.jsonl`; empty where it is as it should be."""
    if fault := _fault(line, MEASUREMENT, MEASUREMENT_KEYS):
        return fault
    known = key(line)
    return "" if line["case"] == known else f"case: is not that of its axes, {_shown(known)}"


def window_fault(line: Mapping[str, Any]) -> str:
    """The same of a line of `windows-<worker>.jsonl`."""
    fault = _fault(line, WINDOW, WINDOW_KEYS)
    worker = line.get("worker", "")
    return fault or ("" if is_worker(worker) else f"worker: want a name that ends in a number, found {_shown(worker)}")


def is_worker(name: str) -> bool:
    """Whether it is a name of a worker that times: a number, alone or as its last part."""
    number = name.rpartition("-")[2]
    return number.isdecimal() and len(number) < LONGEST_NUMBER


def info_fault(content: Mapping[str, Any]) -> str:
    """The same of `run.json`."""
    if fault := _fault(content, INFO, INFO_KEYS):
        return fault
    for name, branches in BRANCHES.items():
        for branch in branches:
            if not isinstance(content[name].get(branch, {}), dict):
                return f"{name}.{branch}: want an object, found {_shown(content[name][branch])}"
    if not PRECISION.holds(precision := content["resolved"].get("measure", {}).get("precision")):
        return f"resolved.measure.precision: want {PRECISION.words}, found {_shown(precision)}"
    cores = content["environment"].get("machine", {}).get("cores_allowed", [])
    return "" if isinstance(cores, list) else f"environment.machine.cores_allowed: want a list, found {_shown(cores)}"


def _fault(line: Mapping[str, Any], kinds: Kinds, needed: Iterable[str] = ()) -> str:
    for name in needed:
        if name not in line:
            return f"{name}: missing"
    for name, kind in kinds.items():
        if name in line and not kind.holds(line[name]):
            return f"{name}: want {kind.words}, found {_shown(line[name])}"
    return ""


def _shown(value: object) -> str:
    text = ascii(value) if not isinstance(value, int) or abs(value) < MOST else "a number that is too large"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."

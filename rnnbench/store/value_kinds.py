"""Kinds of values in a JSON file, and the check of an object by the kind of each of its values."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_INTEGER = 1 << 63  # frames hold whole numbers below this
MAX_SHOWN_LENGTH = 40  # characters of a wrong value
MAX_DEPTH = 50  # of objects and lists in each other


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


def whole(least: int) -> ValueKind:
    """A whole number of `least` or more, small enough for a frame."""
    return ValueKind(
        f"a whole number of {least} or more", lambda value: type(value) is int and least <= value < MAX_INTEGER
    )


def or_none(kind: ValueKind) -> ValueKind:
    """A value of this kind, or null."""
    return ValueKind(f"{kind.words}, or null", lambda value: value is None or kind.holds(value))


def list_of(kind: ValueKind, least: int = 0) -> ValueKind:
    """A list of values of one kind, with at least `least` of them."""
    return ValueKind(
        f"a list, each {kind.words}",
        lambda value: isinstance(value, list) and len(value) >= least and all(map(kind.holds, value)),
    )


def row_of(words: str, *kinds: ValueKind) -> ValueKind:
    """A list with one value of each kind, in this order."""
    return ValueKind(
        words,
        lambda value: (
            isinstance(value, list)
            and len(value) == len(kinds)
            and all(kind.holds(item) for kind, item in zip(kinds, value, strict=True))
        ),
    )


def table_of(kind: ValueKind, keys: ValueKind | None = None) -> ValueKind:
    """An object whose values are of one kind, and whose keys are text or of the kind `keys`."""
    return ValueKind(
        f"an object, each {kind.words}{f' by {keys.words}' if keys else ''}",
        lambda value: (
            isinstance(value, dict) and all(map((keys or TEXT).holds, value)) and all(map(kind.holds, value.values()))
        ),
    )


def object_of(words: str, kinds: Kinds) -> ValueKind:
    """An object with exactly these keys."""
    return ValueKind(
        words, lambda value: isinstance(value, dict) and value.keys() == kinds.keys() and not first_fault(value, kinds)
    )


def one_of(*words: str) -> ValueKind:
    """One of these texts."""
    return ValueKind(f"one of {', '.join(words)}", lambda value: value in words if isinstance(value, str) else False)


def _is_plain(value: object, depth: int = MAX_DEPTH) -> bool:
    """Whether all text of a JSON value can be written, and its whole numbers fit into frames."""
    match value:
        case dict():
            return depth > 0 and all(map(_is_text, value)) and all(_is_plain(v, depth - 1) for v in value.values())
        case list():
            return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
        case str():
            return _is_text(value)
        case int():
            return abs(value) < MAX_INTEGER
    return True


TEXT = ValueKind("text", _is_text)
COUNT = whole(0)
SIZE = whole(1)
SECONDS = ValueKind("a number of 0 or more", lambda value: _is_number(value, 0.0))
MORE = ValueKind("a number above 0", lambda value: _is_number(value, 1e-300))
NUMBER = ValueKind("a number", _is_number)
METRIC = ValueKind("a number", lambda value: _is_number(value) or value != value)  # noqa: PLR0124 - or NaN: not known
ERROR = ValueKind(
    "a number", lambda value: type(value) is float or _is_number(value)
)  # of outputs that may be infinite
PRECISION = or_none(MORE)
ANY_LIST = ValueKind("a list", lambda value: isinstance(value, list))
OBJECT = ValueKind("an object", lambda value: isinstance(value, dict))
PLAIN_TREE = ValueKind("an object of plain values", lambda value: isinstance(value, dict) and _is_plain(value))


def first_fault(line: Mapping[str, Any], kinds: Kinds, needed: Iterable[str] = ()) -> str:
    """The first problem of an object, empty if it has none: a missing key of `needed`, or a value of another kind."""
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
    except (ValueError, RecursionError):  # it holds a number with more digits than Python writes, or is too deep
        return "a value that is too large"
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: MAX_SHOWN_LENGTH - 3]}..."

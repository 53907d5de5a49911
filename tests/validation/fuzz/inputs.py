"""Inputs that strangers might give: arbitrary and nearly right ones."""

import json
import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

# Texts that cause faults: terminal escapes, formulas, markup, paths, commands of GitHub, lone surrogates.
NASTY = (
    "",
    " ",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "=1+1",
    "@SUM(A1)",
    "<script>alert(1)</script>",
    "../../../etc/passwd",
    "/etc/passwd",
    "a\nb",
    "::error::x",
    "%0A::warning::x",
    "| x | y |",
    "\u202egnp.exe",
    "\ud800",
    "\x00",
    "$(reboot)",
    "--upload-pack=x",
    "{{ 7 * 7 }}",
    "nan",
    "x" * 3000,
)
WHOLE = (0, -1, 1, 2**31, 2**63, 2**64, 10**30, 10**400)
NUMBERS = (*WHOLE, 0.0, -0.0, 1e-320, 1e-290, 1e18, 1e308, math.inf, -math.inf, math.nan)
SCALARS = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(NASTY), st.integers(-9, 9))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NASTY), inner, max_size=3),
    max_leaves=5,
)
DEEP = (b"[" * 100_000, b'{"a":' * 100_000, b"[[" * 50_000 + b"]]" * 50_000, b"1" * 10_000)


def places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value of a tree."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [at, *(place for key, value in inner for place in places(value, (*at, key)))]


def changed(tree: Any, at: Sequence[Any], value: Any) -> Any:
    """A copy of a tree with another value at a path; DELETED removes the path."""
    if not at:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    if len(at) == 1 and value is DELETED:
        del copy[at[0]]
    else:
        copy[at[0]] = changed(copy[at[0]], at[1:], value)
    return copy


DELETED: Any = object()


@st.composite
def near(draw: st.DrawFn, tree: Any) -> Any:
    """A tree with one to three values replaced, taken from elsewhere in it, or left out."""
    for _ in range(draw(st.integers(1, 3))):
        paths = places(tree)[1:]
        if not paths:
            return tree
        at = draw(st.sampled_from(paths))
        kind = draw(st.sampled_from(["replace", "replace", "delete", "other"]))
        tree = changed(
            tree, at, DELETED if kind == "delete" else draw(VALUES) if kind == "replace" else _at(tree, draw)
        )
    return tree


def _at(tree: Any, draw: st.DrawFn) -> Any:
    for key in draw(st.sampled_from(places(tree)[1:])):
        tree = tree[key]
    return tree


@st.composite
def bent(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with some parts changed, cut out, doubled, or replaced by anything."""
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(content)))
        last = min(len(content), first + draw(st.integers(0, 30)))
        middle = draw(st.one_of(st.binary(max_size=8), st.just(b""), st.just(content[first:last] * 2)))
        content = content[:first] + middle + content[last:]
    return content


@st.composite
def lines(draw: st.DrawFn, records: list[dict[str, Any]]) -> bytes:
    """JSON lines in any order, one of them nearly right; or bent bytes; or anything else."""
    kind = draw(st.sampled_from(["near", "near", "near", "bent", "any", "deep"]))
    if kind == "any":
        return draw(st.binary(max_size=200))
    if kind == "deep":
        return draw(st.sampled_from(DEEP)) + b"\n"
    if kind == "bent":
        return draw(bent(_lines(records)))
    index = draw(st.integers(0, len(records) - 1))
    records = [*records[:index], draw(near(records[index])), *records[index + 1 :]]
    if draw(st.booleans()):
        records = draw(st.permutations(records))
    return _lines(records)


def _lines(records: list[Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@st.composite
def document(draw: st.DrawFn, tree: Any) -> bytes:
    """One JSON document that is nearly right or bent, or anything else."""
    kind = draw(st.sampled_from(["near", "near", "near", "bent", "any", "deep"]))
    if kind == "any":
        return draw(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
    if kind == "deep":
        return draw(st.sampled_from(DEEP))
    if kind == "bent":
        return draw(bent(json.dumps(tree).encode()))
    return json.dumps(draw(near(tree))).encode()


def toml(tree: dict[str, Any]) -> bytes:
    """A suite's tree as TOML; values without a TOML form are written as something similar."""
    text = "".join(f"{_key(key)} = {_toml(value)}\n" for key, value in tree.items())
    return text.encode("utf-8", "surrogatepass")


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else json.dumps(key)


def _toml(value: Any) -> str:
    match value:
        case None:
            return '"null"'
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value)
        case dict():
            return f"{{{', '.join(f'{_key(key)} = {_toml(item)}' for key, item in value.items())}}}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
    return repr(value)

"""Expressions such as `cell=lstm,gru hidden_size=256`, which select cases of a suite, or sizes.

A value that contains a space, a comma or a quote must be quoted: in single quotes if it contains none itself, or in
double quotes with JSON's escapes.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence

from rnnbench.errors import UserError
from rnnbench.store.records import AXES, DEFAULTS, OF_DATA, Case, axis_text
from rnnbench.text import nearest

# The words of tables for axes. The kind of `input` has this name itself.
TERM_WORDS = {
    "batch": "batch_size",
    "length": "seq_len",
    "hidden": "hidden_size",
    "output": "output_size",
    "layers": "num_layers",
    "type": "dtype",
}
QUOTED_VALUE = r""" "(?:[^"\\]|\\.)*" | '[^']*' """
TERM = re.compile(rf"(?: (?<=[=,]) (?:{QUOTED_VALUE}) | \S )+", re.VERBOSE | re.DOTALL)
VALUE = rf"""(?: {QUOTED_VALUE} | [^,"'][^,]* )"""
VALUE_LIST = re.compile(rf"{VALUE} (?:,{VALUE})*", re.VERBOSE | re.DOTALL)
ONE_VALUE = re.compile(VALUE, re.VERBOSE | re.DOTALL)
QUOTING = "a value that has a space, a comma or a quote in it stands in quotes"
ALWAYS_LISTED = ("cell", "implementation", "phase")  # axes that a listing shows even if they do not differ
BARE = re.compile(r"""[^\s,"'\\]+""")  # a value that needs no quotes, if it is printable


def parse_only(
    expressions: Sequence[str], subject: str = "only", *, arguments: Collection[str] = ()
) -> dict[str, list[str]]:
    """Parse `axis=value[,value...]` terms, separated by spaces; a case must match every named axis.

    `subject` begins each message; `arguments`: of constructors, which may be named beside the axes. No expression at
    all selects everything, but an empty one is an error: most likely a shell variable is unset.
    """
    only: dict[str, list[str]] = {}
    for expression in expressions:
        if not expression.strip():
            raise UserError(f"{subject} is empty; expected for example cell=VALUE (is a shell variable unset?)")
    for term in TERM.findall(" ".join(expressions)):
        axis, _, values = term.partition("=")
        names = (*AXES, *arguments)
        if axis not in names:
            axis = TERM_WORDS.get(axis, axis)
        if axis == "input" and re.fullmatch(r"[\d,]+", values):
            axis = "input_size"  # as tables call it
        if axis not in names:
            raise UserError(f"{subject} {term}: no axis {axis!r}{nearest(axis, names)}; axes: {', '.join(names)}")
        if axis in only:
            raise UserError(f"{subject} {term}: {axis} is named twice; expected {axis}=VALUE,VALUE")
        only[axis] = [_unquoted(value) for value in ONE_VALUE.findall(values)] if VALUE_LIST.fullmatch(values) else []
        if not (only[axis] and all(only[axis])):
            raise UserError(f"{subject} {term}: expected {axis}=VALUE, or {axis}=VALUE,VALUE; {QUOTING}")
    return only


def expression(case: Case, axes: Collection[str] = AXES) -> str:
    """Return an expression that selects exactly this case, in one line that a shell takes in single quotes.

    With some of the axes, it selects every case that has the same values on these.
    """
    loads = case.workload.samples > 0
    values: Mapping[str, object] = {axis: value for axis, value in case.axes().items() if loads or axis not in OF_DATA}
    return " ".join(f"{axis}={quoted(axis_text(value))}" for axis, value in values.items() if axis in axes)


def telling(cases: Sequence[Case], values: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the axes in which the cases of a suite differ; `values`: of the whole suite, which may have more cases.

    The reference is left out if each cell has only one.
    """
    rows = [case.axes() for case in cases]
    distinct = {axis: {row[axis] for row in rows} for axis in AXES}
    several = [
        axis for axis in AXES if axis in ALWAYS_LISTED or len(distinct[axis]) > 1 or len(values.get(axis, ())) > 1
    ]
    references = {(case.cell, case.workload.reference) for case in cases}
    return [axis for axis in several if axis != "reference" or len(references) > len(distinct["cell"])]


def common(cases: Sequence[Case], axes: Collection[str]) -> str:
    """Return the values of all other axes, which the cases have in common, as an expression; without defaults."""
    first = cases[0]
    others = [axis for axis in AXES if axis not in (*axes, "reference")]
    return expression(first, [axis for axis in others if first.axes()[axis] != DEFAULTS.get(axis)])


def quoted(value: str) -> str:
    """Return a value as an expression writes it: unchanged, or in double quotes."""
    if BARE.fullmatch(value) and value.isprintable():
        return value
    return json.dumps(value).replace("'", r"\u0027").replace("\x7f", r"\u007f")


def _unquoted(value: str) -> str:
    """Return a value without its quotes; empty if the closing quote is missing or JSON does not know an escape."""
    if value.startswith("'"):
        return value[1:-1]
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value, strict=False))
    except ValueError:
        return ""

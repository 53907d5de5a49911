"""Read a file that callgrind writes: the instructions of each function, and how often some were called.

The format is described at https://valgrind.org/docs/manual/cl-format.html.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rnnbench.store.instructions import FunctionName

# `ob=(3) /usr/lib/libc.so.6`; later lines have the number alone. `cob` and `cfn` are of a function that is called.
POSITION = re.compile(r"(ob|cob|fn|cfn)=(?:\((\d+)\))?\s*(.*)")
COST = frozenset("+-*0123456789")  # how a line with a number of instructions begins
RECURSION = re.compile(r"'\d+$")  # callgrind counts the levels of a recursion apart
UNKNOWN = "???"
# `at::_ops::add_Tensor::call(...)`: what torch generates for `aten::add.Tensor`.
OPERATOR = re.compile(r"at::_ops::(\w+)::call\b")
OVERLOAD = re.compile(r"_(?:[A-Z]\w*|out|int|self|dim)$")
# Of the C library; it calls some of them itself.
ALLOCATOR = frozenset({"malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "memalign"})


@dataclass(frozen=True)
class Dump:
    """What one call did."""

    functions: Counter[FunctionName] = field(default_factory=Counter)  # instructions of their own code
    operators: Counter[str] = field(default_factory=Counter)  # calls of torch's operators: `aten::add`
    allocator_calls: int = 0  # of ALLOCATOR, from outside of the C library


def read_dump(lines: Iterable[str]) -> Dump:
    """Read the lines of a dump; raises ValueError if they are not one."""
    names: dict[str, dict[str, str]] = {"ob": {}, "fn": {}}  # number -> name
    own: Counter[tuple[str, str]] = Counter()
    operators: Counter[str] = Counter()
    here = {"ob": UNKNOWN, "fn": UNKNOWN}
    called: dict[str, str] = {}
    calls = allocator_calls = 0
    summary = None
    for line in lines:
        if match := POSITION.match(line):
            key, number, text = match.groups()
            kind = key.removeprefix("c")
            name = names[kind].setdefault(number, text or UNKNOWN) if number else text
            (here if key == kind else called)[kind] = name
        elif line.startswith("calls="):
            calls = int(line.removeprefix("calls=").split()[0])
        elif line[:1] in COST and calls:  # the instructions below a call, which the called functions count as their own
            if operator := OPERATOR.match(called["fn"]):
                operators[operator_name(operator[1])] += calls
            if called["fn"] in ALLOCATOR and called.get("ob", here["ob"]) != here["ob"]:
                allocator_calls += calls
            called, calls = {}, 0
        elif line[:1] in COST:
            own[here["ob"], here["fn"]] += int(line.split()[-1])
        elif line.startswith("summary:"):
            summary = int(line.split()[1])
    if summary != own.total():
        raise ValueError(f"the functions have {own.total()} instructions together, and the summary has {summary}")
    functions: Counter[FunctionName] = Counter()
    for (file, function), count in own.items():
        functions[FunctionName(PurePosixPath(file).name, RECURSION.sub("", function))] += count
    return Dump(functions, operators, allocator_calls)


def operator_name(generated: str) -> str:
    """`aten::add` from `add_Tensor`, the name of the class that torch generates for one of its overloads."""
    return f"aten::{OVERLOAD.sub('', generated)}"

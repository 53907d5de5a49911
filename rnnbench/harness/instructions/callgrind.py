"""Workers that run under callgrind, a tool of valgrind, and the files that it writes about them.

The format of the files is described at https://valgrind.org/docs/manual/cl-format.html.
"""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.store.instructions import FunctionName
from rnnbench.store.readings import Unavailable
from rnnbench.text import last_line

PROGRAMS = ("valgrind", "vgdb")
START_SECONDS = 600.0  # importing torch under valgrind takes 10 to 20 times as long as without
SWITCH_SECONDS = 60.0
REMEDY = "install valgrind (Debian, Ubuntu: apt install valgrind; Fedora: dnf install valgrind)"
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


def why_not() -> str:
    """Why instructions can't be counted by callgrind here; empty if they can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{' and '.join(missing)} can't be found; {REMEDY}" if missing else ""


def command(folder: Path, name: str) -> list[str]:
    """The start of a worker's command, whose dumps then lie in `folder`. Nothing is counted until `switch_on`."""
    return [
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        "--instr-atstart=no",  # torch's import would take minutes
        "--collect-atstart=no",
        "--dump-line=no",
        f"--callgrind-out-file={folder / name}",
        f"--vgdb-prefix={folder / 'vgdb'}",
    ]


def switch_on(worker: WorkerProcess, folder: Path) -> None:
    """Let callgrind see every instruction of a worker from now on; raises Unavailable."""
    request = ["vgdb", f"--vgdb-prefix={folder / 'vgdb'}", f"--pid={worker.pid}", "instrumentation", "on"]
    try:
        done = subprocess.run(request, capture_output=True, timeout=SWITCH_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise Unavailable(f"callgrind can't be switched on: {fault}") from None
    if done.returncode:
        why = last_line(done.stderr.decode(errors="replace")) or f"vgdb exited with {done.returncode}"
        raise Unavailable(f"callgrind can't be switched on: {why}")


def take_dumps(folder: Path, name: str) -> list[Dump]:
    """Read and remove the dumps of a worker; raises WorkerLost.

    Every second is that of a call that was counted, in the order of the calls.
    """
    files = sorted(folder.glob(f"{name}.*"), key=lambda file: int(file.suffix[1:]))
    try:
        dumps = [read_dump(file.read_text(errors="replace").splitlines()) for file in files[1::2]]
    except (ValueError, OSError) as fault:
        raise WorkerLost(f"what callgrind wrote can't be read: {fault}") from None
    for file in files:
        file.unlink()
    return dumps


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

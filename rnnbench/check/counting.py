"""Count the instructions of many cases in workers that are never timed: by the kernel, or under callgrind.

The format of the files that callgrind, a tool of valgrind, writes: https://valgrind.org/docs/manual/cl-format.html.
"""

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path, PurePosixPath

from rnnbench.analysis.instructions import CounterName, InstructionCounts, Part, part_of
from rnnbench.harness.coordinator.process import Asker, WorkerLost, WorkerProcess, in_parallel
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.scratch import scratch
from rnnbench.harness.protocol import Building
from rnnbench.store.metrics import COMPILED
from rnnbench.store.readings import Unavailable
from rnnbench.store.records import Case
from rnnbench.suite.file import Settings

Counted = InstructionCounts | str  # or the reason why there are none
# Starts a worker: `start(under=..., start_seconds=...)`.
StartWorker = Callable[..., WorkerProcess]

START_SECONDS = 600.0  # importing torch under valgrind takes 10 to 20 times as long as without
SWITCH_SECONDS = 60.0
# Nothing is counted until it is switched on: torch's import would take minutes.
CALLGRIND = ("valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no", "--dump-line=no")
# `ob=(3) /usr/lib/libc.so.6`; later lines have the number alone. `cob` and `cfn` are of a function that is called.
POSITION = re.compile(r"(ob|cob|fn|cfn)=(?:\((\d+)\))?\s*(.*)")
COST = frozenset("+-*0123456789")  # how a line with a number of instructions begins
UNKNOWN = "???"
DUMP = "dump"  # how the names of a worker's files begin
# `at::_ops::add_Tensor::call(...)`, the class that torch generates for an overload of `aten::add`.
OPERATOR = re.compile(r"at::_ops::(\w+?)(?:_(?:[A-Z]\w*|out|int|self|dim))?::call\b")


def count_instructions(
    cases: Sequence[Case],
    sides: Mapping[str, tuple[StartWorker, Building]],
    counter: CounterName,
    settings: Settings,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, Counted]]:
    """Count the cases of all sides, the sides at the same time; returns the counts by side and by the case's key.

    `on_done` gets the number of counted cases, and of all. A case that fails or loses its worker has the reason. Passes
    KeyboardInterrupt on. Ends all workers.
    """
    total, done = len(sides) * len(cases), count(1)
    on_done(0, total)

    def run(asker: Asker, building: Building, folder: Path) -> dict[str, Counted]:
        counted = dict[str, Counted]()
        for case in cases:
            counted[case.key] = _count(case, asker, building, counter, folder)
            on_done(next(done), total)
        return counted

    with scratch("instructions") as folder, ExitStack() as stack:
        jobs = []
        for side, (start, building) in sides.items():
            own = folder / side
            own.mkdir()
            asker = Asker(settings, start)
            if counter == "callgrind":
                files = f"--callgrind-out-file={own / DUMP}", f"--vgdb-prefix={own / 'vgdb'}"
                under = partial(start, under=[*CALLGRIND, *files], start_seconds=START_SECONDS)
                asker = Asker(settings, under, on_ready=partial(switch_on, folder=own))
            stack.callback(asker.close)
            jobs.append((partial(run, asker, building, own), asker.stop))
        return dict(zip(sides, in_parallel(jobs), strict=True))


def _count(case: Case, asker: Asker, building: Building, counter: CounterName, folder: Path) -> Counted:
    """Count a case, or say why it can't be counted; raises Stopped after `asker.stop`."""
    if case.workload.phase in ("loading", "epoch"):
        return f"a call of the phase `{case.workload.phase}` draws from a data set and is not counted"
    if counter == "callgrind" and case.implementation in COMPILED:
        return "torch.compile would take minutes under callgrind"
    # Threads that wait for each other spin, for a number of instructions that is chance.
    with_one_thread = replace(case, workload=replace(case.workload, threads=1))
    try:
        reply = asker.ask(building.count(with_one_thread, counter), allowed_cores())
        calls = take_dumps(folder)
    except (WorkerLost, Unavailable) as reason:
        asker.close()
        return str(reason)
    if not reply["ok"]:
        return str(reply["reason"])
    if counter == "callgrind" and not calls:
        return "callgrind wrote no counts"
    least = min(calls, key=lambda call: call.total, default=InstructionCounts(counter, ()))
    return replace(least, rounds=tuple(call.total for call in calls) or tuple(reply["totals"]))


def switch_on(worker: WorkerProcess, folder: Path) -> None:
    """Let callgrind see every instruction of a worker from now on; raises Unavailable."""
    request = ["vgdb", f"--vgdb-prefix={folder / 'vgdb'}", f"--pid={worker.pid}", "instrumentation", "on"]
    try:
        subprocess.run(request, capture_output=True, timeout=SWITCH_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as fault:
        raise Unavailable(f"callgrind can't be switched on: {fault}") from None


def take_dumps(folder: Path) -> list[InstructionCounts]:
    """Read and remove the dumps of a worker, if there are any; raises WorkerLost.

    Every second is that of a call that was counted, in the order of the calls.
    """
    files = sorted(folder.glob(f"{DUMP}.*"), key=lambda file: int(file.suffix[1:]))
    try:
        return [read_dump(file.read_text(errors="replace").splitlines()) for file in files[1::2]]
    except (ValueError, OSError) as fault:
        raise WorkerLost(f"what callgrind wrote can't be read: {fault}") from None
    finally:
        for file in files:
            file.unlink()


def read_dump(lines: Iterable[str]) -> InstructionCounts:
    """Read the lines of a dump, which is of one call; raises ValueError if they are not one."""
    parts, operators = Counter[Part](), Counter[str]()
    names = dict[tuple[str, str], str]()  # kind and number -> name
    here, called = {"ob": UNKNOWN, "fn": UNKNOWN}, UNKNOWN
    calls = total = 0
    summary = None
    for line in lines:
        if match := POSITION.match(line):
            key, number, text = match.groups()
            name = names.setdefault((key[-2:], number), text or UNKNOWN) if number else text
            if key in here:
                here[key] = name
            elif key == "cfn":
                called = name
        elif line.startswith("calls="):
            calls = int(line.removeprefix("calls=").split()[0])
        elif line[:1] in COST and calls:  # the instructions below a call, which the called functions count as their own
            if operator := OPERATOR.match(called):
                operators[f"aten::{operator[1]}"] += calls
            calls = 0
        elif line[:1] in COST:
            total += (cost := int(line.split()[-1]))
            if part := part_of(PurePosixPath(here["ob"]).name, here["fn"]):
                parts[part] += cost
        elif line.startswith("summary:"):
            summary = int(line.split()[1])
    if summary != total:
        raise ValueError(f"the functions have {total} instructions together, and the summary has {summary}")
    return InstructionCounts("callgrind", (parts.total(),), parts, operators)

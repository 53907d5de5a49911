"""Count the instructions of many cases in workers that are never timed: by the kernel, or under callgrind.

The format of the files that callgrind, a tool of valgrind, writes: https://valgrind.org/docs/manual/cl-format.html.
"""

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path, PurePosixPath

from rnnbench.analysis.instructions import CounterName, FunctionName, InstructionCounts, part_of
from rnnbench.harness.coordinator.asking import Asker
from rnnbench.harness.coordinator.process import WorkerLost, WorkerProcess
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.scratch import scratch
from rnnbench.harness.protocol import Building
from rnnbench.store.metrics import COMPILED
from rnnbench.store.readings import Unavailable
from rnnbench.store.records import Case
from rnnbench.suite.file import Settings
from rnnbench.text import last_line

Counted = InstructionCounts | str  # or the reason why there are none
# Starts a worker: `start(name, under=..., start_seconds=...)`.
StartWorker = Callable[..., WorkerProcess]

START_SECONDS = 600.0  # importing torch under valgrind takes 10 to 20 times as long as without
SWITCH_SECONDS = 60.0
# Nothing is counted until it is switched on: torch's import would take minutes.
CALLGRIND = ("valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no", "--dump-line=no")
# `ob=(3) /usr/lib/libc.so.6`; later lines have the number alone. `cob` and `cfn` are of a function that is called.
POSITION = re.compile(r"(ob|cob|fn|cfn)=(?:\((\d+)\))?\s*(.*)")
COST = frozenset("+-*0123456789")  # how a line with a number of instructions begins
RECURSION = re.compile(r"'\d+$")  # callgrind counts the levels of a recursion apart
UNKNOWN = "???"
# `at::_ops::add_Tensor::call(...)`, the class that torch generates for an overload of `aten::add`.
OPERATOR = re.compile(r"at::_ops::(\w+?)(?:_(?:[A-Z]\w*|out|int|self|dim))?::call\b")


@dataclass(frozen=True)
class CountingQueue:
    """Cases that one worker after another counts."""

    cases: Sequence[Case]
    start: StartWorker
    building: Building


def count_instructions(
    queues: Mapping[str, CountingQueue],
    counter: CounterName,
    settings: Settings,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, dict[str, Counted]]:
    """Count the cases of all queues, the queues at the same time; returns the counts by queue and by the case's key.

    `on_done` gets the number of counted cases, and of all. A case that fails or loses its worker has the reason. Passes
    KeyboardInterrupt on. Ends all workers.
    """
    total, done = sum(len(queue.cases) for queue in queues.values()), count(1)
    on_done(0, total)
    with scratch("instructions") as folder:
        counters = {name: _QueueCounter(queue, counter, settings, folder, name) for name, queue in queues.items()}

        def run(name: str) -> dict[str, Counted]:
            counted = dict[str, Counted]()
            for case in queues[name].cases:
                counted[case.key] = counters[name].count(case)
                on_done(next(done), total)
            return counted

        try:
            with ThreadPoolExecutor(len(counters)) as pool:
                counting = {name: pool.submit(run, name) for name in counters}
                try:
                    for future in as_completed(counting.values()):
                        future.result()
                finally:
                    for each in counters.values():
                        each.asker.stop()
        finally:
            for each in counters.values():
                each.asker.close()
    return {name: future.result() for name, future in counting.items()}


class _QueueCounter:
    """Counts the cases of one queue, in a thread of its own."""

    def __init__(self, queue: CountingQueue, counter: CounterName, settings: Settings, folder: Path, name: str) -> None:
        self._queue, self._counter, self._folder = queue, counter, folder
        self._names = (f"{name}-{number}" for number in count())
        self.asker = Asker(settings, self._start, on_ready=self._switch_on)

    def count(self, case: Case) -> Counted:
        """Count a case, or say why it can't be counted; raises Stopped after `asker.stop`."""
        if case.workload.phase in ("loading", "epoch"):
            return f"a call of the phase `{case.workload.phase}` draws from a data set and is not counted"
        is_callgrind = self._counter == "callgrind"
        if is_callgrind and case.implementation in COMPILED:
            return "torch.compile would take minutes under callgrind"
        # Threads that wait for each other spin, for a number of instructions that is chance.
        with_one_thread = replace(case, workload=replace(case.workload, threads=1))
        try:
            reply = self.asker.ask(self._queue.building.count(with_one_thread, self._counter), allowed_cores())
            dumps = take_dumps(self._folder, self._name) if is_callgrind else []
        except (WorkerLost, Unavailable) as reason:
            self.asker.close()
            return str(reason)
        if not reply["ok"] or (is_callgrind and not dumps):
            return "callgrind wrote no counts" if reply["ok"] else reply["reason"]
        totals = [dump.functions.total() for dump in dumps] or reply["totals"]
        least = min(dumps, key=lambda dump: dump.functions.total(), default=Dump())
        return InstructionCounts(self._counter, tuple(totals), least.functions, least.operators)

    def _start(self) -> WorkerProcess:
        self._name = next(self._names)
        if self._counter != "callgrind":
            return self._queue.start(self._name)
        files = (f"--callgrind-out-file={self._folder / self._name}", f"--vgdb-prefix={self._folder / 'vgdb'}")
        return self._queue.start(self._name, under=[*CALLGRIND, *files], start_seconds=START_SECONDS)

    def _switch_on(self, worker: WorkerProcess) -> None:
        if self._counter == "callgrind":
            switch_on(worker, self._folder)


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


@dataclass(frozen=True)
class Dump:
    """What one call did."""

    functions: Counter[FunctionName] = field(default_factory=Counter)  # instructions of their own code
    operators: Counter[str] = field(default_factory=Counter)  # calls of torch's operators: `aten::add`


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
    dump, names = Dump(), dict[tuple[str, str], str]()  # kind and number -> name
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
                dump.operators[f"aten::{operator[1]}"] += calls
            calls = 0
        elif line[:1] in COST:
            total += (cost := int(line.split()[-1]))
            if part := part_of(PurePosixPath(here["ob"]).name, here["fn"]):
                dump.functions[FunctionName(part, RECURSION.sub("", here["fn"]))] += cost
        elif line.startswith("summary:"):
            summary = int(line.split()[1])
    if summary != total:
        raise ValueError(f"the functions have {total} instructions together, and the summary has {summary}")
    return dump

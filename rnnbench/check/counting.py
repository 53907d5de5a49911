"""The second witness of a check: the instructions of a call on each side, counted in workers that are never timed.

The kernel counts them, or callgrind. A change may be chance: where the interpreter's cache of methods has collisions,
counts differ between two versions of a file. So a case that seems to have changed is counted again in other processes,
and the change must be larger than what the processes of a side differ by.

The format of the files that callgrind, a tool of valgrind, writes: https://valgrind.org/docs/manual/cl-format.html.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count as numbers
from pathlib import Path, PurePosixPath
from typing import Literal

from rnnbench.analysis.comparison import (
    WORK,
    InstructionChange,
    InstructionCounts,
    Part,
)
from rnnbench.analysis.decide import changes as exact_changes
from rnnbench.check.families import first_of_each
from rnnbench.check.paired import PairedRunner
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.process import Asker, WorkerProcess, WorkerStart, in_parallel
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.perf_event import CounterName, choose_counter
from rnnbench.harness.protocol import Building
from rnnbench.harness.turns.schedule import Progress
from rnnbench.store.implementations import COMPILED
from rnnbench.store.metrics import Unavailable
from rnnbench.store.records import Case, Group
from rnnbench.suite.file import Settings
from rnnbench.suite.outline import cases_of
from rnnbench.temporary import scratch
from rnnbench.text import plural

InstructionsMode = Literal["show", "gate"]
Counted = InstructionCounts | str  # or the reason why there are none
# Starts a worker, under another command if it gets a `WorkerStart` with one.
StartWorker = Callable[..., WorkerProcess]

CONFIRMATIONS = 2  # times that a case is counted again if it seems to have changed
AVX2 = (
    "callgrind counts the instructions. It does not support AVX-512, so libraries use their AVX2 code: a change within "
    "their kernels may differ from what this processor runs"
)
CALLGRIND_START_SECONDS = 600.0  # importing torch under valgrind takes 10 to 20 times as long as without
# Nothing is counted until a worker switches it on: torch's import would take minutes. Each line has whole names.
CALLGRIND_OPTIONS = ("--quiet", "--instr-atstart=no", "--collect-atstart=no", "--dump-line=no", "--compress-strings=no")
CALLGRIND = ("valgrind", "--tool=callgrind", *CALLGRIND_OPTIONS)
COST = frozenset("+-*0123456789")  # how a line with a number of instructions begins
UNKNOWN_FILE = "???"
# how the names of a worker's files begin
DUMP = "dump"
VGDB = "vgdb"
NOT_COUNTED = "the budget for counting was spent; select fewer cases by --only"
UNCONFIRMED = "they seemed to change, and the budget for counting was spent before they were counted again"
MIN_COUNTING_SECONDS = 60.0  # for counting, if the timing took less: a worker under callgrind takes some 20 s to start
PYTHON = re.compile(r"(lib)?python\d.*|.*\.cpython-.*")  # the interpreter, and extension modules
C_LIBRARY = re.compile(r"libc[.-].*")
# Machine code that is made while a program runs, as oneDNN's is, belongs to no file.
KERNEL_FILES = re.compile(r"\?\?\?|libmkl.*|libdnnl.*|libm[.-].*|libopenblas.*|libarm_compute.*")
KERNEL_FUNCTIONS = re.compile(
    r"mkl_|MKL|dnnl|Sleef|[Vv]ectorized|_kernel|kernel_|gemm|gemv|cblas|cpublas|at::vec|fbgemm|xnn_|"
    r"at::native::.*(loop|Loop|reduce|softmax)|^_{0,2}mem(cpy|move|set)"
)
# `at::_ops::add_Tensor::call(...)`, the class that torch generates for an overload of `aten::add`.
OPERATOR_CALL = re.compile(r"at::_ops::(\w+?)(?:_(?:[A-Z]\w*|out|int|self|dim))?::call\b")


def chosen_counter(mode: InstructionsMode | None) -> tuple[CounterName | None, list[str]]:
    """Choose the counter, None if nothing counts; returns it with notes about it.

    Raises UserError if instructions are a gate and nothing counts them here.
    """
    if mode is None:
        return None, []
    try:
        counter = choose_counter()
    except Unavailable as reason:
        text = f"instructions can't be counted here: {reason}"
        if mode == "gate":
            raise UserError(f"{text}, so they can't be a gate") from None
        return None, [text]
    return counter, [AVX2] if counter == "callgrind" else []


@dataclass
class Counting:
    """Counts cases until a budget of its own is spent; what is known so far stays, also of cases that were left."""

    runner: PairedRunner
    counter: CounterName
    budget_seconds: float
    on_progress: Callable[[Progress], None]
    changes: dict[str, InstructionChange | str] = field(default_factory=dict)  # or why there is none, by case

    def run(self, groups: Sequence[Group]) -> dict[str, InstructionChange | str]:
        """Count the cases that work on both sides; returns the change of each, or why there is none, by its key.

        One case of each changed definition comes first, and is counted again at once if it seems to have changed. The
        number of instructions becomes a metric of the case.
        """
        self._began = self.runner.seconds
        cases = [case for case in cases_of(groups) if not self.runner.failed(case)]
        first = first_of_each(cases, self.runner.definitions)
        for batch in (first, [case for case in cases if case not in first]):
            again = self._count(batch, "counting instructions") if self.seconds_left > 0 else []
            for number in range(CONFIRMATIONS if again else 0):
                if self.seconds_left <= 0:
                    self.changes |= {case.key: UNCONFIRMED for case in again}
                    break
                again = self._count(again, f"counting again what changed, {number + 1} of {CONFIRMATIONS}")
        self.changes = {case.key: self.changes.get(case.key, NOT_COUNTED) for case in cases}
        return self.changes

    @property
    def seconds_left(self) -> float:
        """Seconds that are left of the budget."""
        return self.budget_seconds - (self.runner.seconds - self._began)

    def _count(self, cases: Sequence[Case], words: str) -> list[Case]:
        """Count cases in new processes; returns those to count once more, as they seem to have changed by chance."""
        if not cases:
            return []

        def tell(done: int, total: int) -> None:
            self.on_progress(
                Progress(
                    self.runner.replicates, done, total, max(0.0, self.seconds_left), is_counting=True, stage=words
                )
            )

        counted = count_instructions(
            cases,
            self.runner.counters(),
            self.counter,
            self.runner.settings,
            tell,
            seconds_left=lambda: self.seconds_left,
        )
        again = []
        for case in cases:
            base = counted["base"].get(case.key)
            head = counted["head"].get(case.key)
            if base is not None and head is not None:
                self._keep(case, base, head)
            change = self.changes.get(case.key)
            if isinstance(change, InstructionChange) and change.is_beyond and not self._is_certain(case, change):
                again.append(case)
        return again

    def _keep(self, case: Case, base: Counted, head: Counted) -> None:
        for side, counts in (("base", base), ("head", head)):
            if isinstance(counts, str):
                self.runner.recorders[side].add_metrics(case, {}, {"instructions": counts})
            else:
                self.runner.recorders[side].add_metrics(case, {"instructions": counts.total}, {})
        earlier = self.changes.get(case.key)
        if isinstance(base, str) or isinstance(head, str):
            reasons = (reason for reason in (base, head) if isinstance(reason, str))
            self.changes[case.key] = "; ".join(dict.fromkeys(reasons))
        elif isinstance(earlier, InstructionChange):
            self.changes[case.key] = InstructionChange(earlier.base.pooled(base), earlier.head.pooled(head))
        else:
            self.changes[case.key] = InstructionChange(base, head)

    def _is_certain(self, case: Case, change: InstructionChange) -> bool:
        """Return True if the numbers of operators or allocations differ, which are exact, in the same direction."""
        if self.counter != "callgrind":  # which takes minutes
            return False
        base = self.runner.recorders["base"].measurements[case.key].metrics
        head = self.runner.recorders["head"].measurements[case.key].metrics
        work = [each for each in exact_changes(base, head) if each.metric in WORK]
        return bool(work) and all((each.head > each.base) == (change.ratio > 1) for each in work)


def count_instructions(
    cases: Sequence[Case],
    sides: Mapping[str, tuple[StartWorker, Building]],
    counter: CounterName,
    settings: Settings,
    on_done: Callable[[int, int], None] = lambda done, total: None,
    *,
    seconds_left: Callable[[], float] = lambda: math.inf,
) -> dict[str, dict[str, Counted]]:
    """Count the cases of all sides, the sides at the same time; returns the counts by side and by the case's key.

    `on_done` gets the number of counted cases, and of all. `seconds_left`: a case that takes longer than that, judged
    by the slowest one so far, is not begun and has no count. A case that fails or loses its worker has the reason.
    Passes KeyboardInterrupt on. Ends all workers.
    """
    total = len(sides) * len(cases)
    done = numbers(1)
    on_done(0, total)

    def run(asker: Asker, building: Building, folder: Path) -> dict[str, Counted]:
        counted = dict[str, Counted]()
        slowest = 0.0
        for case in cases:
            before = seconds_left()
            if counted and before <= slowest:
                break
            is_first = asker.worker is None  # whose seconds are mostly those of the worker's start
            counted[case.key] = _count(case, asker, building, counter, folder)
            slowest = slowest if is_first or math.isinf(before) else max(slowest, before - seconds_left())
            on_done(next(done), total)
        return counted

    with scratch("instructions") as folder, ExitStack() as stack:
        jobs = []
        for side, (start, building) in sides.items():
            side_folder = folder / side
            side_folder.mkdir()
            asker = Asker(settings, start)
            if counter == "callgrind":
                files = f"--callgrind-out-file={side_folder / DUMP}", f"--vgdb-prefix={side_folder / VGDB}"
                under_callgrind = WorkerStart(under=[*CALLGRIND, *files], start_seconds=CALLGRIND_START_SECONDS)
                asker = Asker(settings, partial(start, under_callgrind))
            stack.callback(asker.close)
            jobs.append((partial(run, asker, building, side_folder), asker.stop))
        return dict(zip(sides, in_parallel(jobs), strict=True))


def _count(case: Case, asker: Asker, building: Building, counter: CounterName, folder: Path) -> Counted:
    """Count a case, or say why it can't be counted; raises CancelledError after `asker.stop`."""
    if case.workload.phase in ("loading", "epoch"):
        return f"a call of the phase `{case.workload.phase}` draws from a data set and is not counted"
    if counter == "callgrind" and case.implementation in COMPILED:
        return "torch.compile would take minutes under callgrind"
    # Threads that wait for each other spin, for a number of instructions that is chance.
    with_one_thread = replace(case, workload=replace(case.workload, threads=1))
    try:
        request = building.request("count", with_one_thread, counter=counter, vgdb_prefix=str(folder / VGDB))
        reply = asker.ask(request, allowed_cores())
        calls = take_dumps(folder)
    except Unavailable as reason:
        asker.close()
        return str(reason)
    if not reply["ok"]:
        return str(reply["reason"])
    if counter == "callgrind" and not calls:
        return "callgrind wrote no counts"
    least = min(calls, key=lambda call: call.total, default=InstructionCounts(counter, ()))
    return replace(least, rounds=tuple(call.total for call in calls) or tuple(reply["totals"]))


def take_dumps(folder: Path) -> list[InstructionCounts]:
    """Read and remove the dumps of a worker, if there are any; raises Unavailable.

    Every second is that of a call that was counted, in the order of the calls.
    """
    files = sorted(folder.glob(f"{DUMP}.*"), key=lambda file: int(file.suffix[1:]))
    try:
        return [read_dump(file.read_text(errors="replace").splitlines()) for file in files[1::2]]
    except (ValueError, OSError) as fault:
        raise Unavailable(f"what callgrind wrote can't be read: {fault}") from None
    finally:
        for file in files:
            file.unlink()


def read_dump(lines: Iterable[str]) -> InstructionCounts:
    """Read the lines of a dump, which is of one call; raises ValueError if they are not one.

    What the C library's allocator takes depends on the state of the heap, so it is left out: the number of allocations
    is counted apart, and exact.
    """
    parts = Counter[Part]()
    operators = Counter[str]()
    here = {"ob": UNKNOWN_FILE, "fn": UNKNOWN_FILE, "cfn": UNKNOWN_FILE}
    calls = total = 0
    summary = None
    for line in lines:
        key, _, name = line.partition("=")
        if key in here:
            here[key] = name or UNKNOWN_FILE
        elif key == "calls":
            calls = int(name.split()[0])
        elif line[:1] in COST and calls:  # the instructions below a call, which the called functions count as their own
            if operator := OPERATOR_CALL.match(here["cfn"]):
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


def part_of(file: str, function: str) -> Part | None:
    """Return the part of a call that a function of a file of machine code belongs to; None for the allocator."""
    if PYTHON.fullmatch(file):
        return "python"
    if KERNEL_FILES.fullmatch(file) or KERNEL_FUNCTIONS.search(function):
        return "kernels"
    return None if C_LIBRARY.fullmatch(file) else "dispatch"


def notes_of_uncounted(changes: Mapping[str, InstructionChange | str]) -> list[str]:
    """Return a note for each reason for which cases were not counted."""
    reasons: dict[str, list[str]] = {}  # reason -> the cases
    for key, reason in changes.items():
        if isinstance(reason, str):
            reasons.setdefault(reason, []).append(key)
    return [
        f"instructions of {plural(len(keys), 'case')} were not counted, the first is {keys[0]}: {reason}"
        for reason, keys in reasons.items()
    ]

"""Base and head in turns: replicates of fresh pairs of workers, which share a hash seed and the layout of memory."""

import itertools
import math
import os
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

from rnnbench.analysis.pairs import PairRatio, pair_ratio
from rnnbench.analysis.replicate_times import times_by_case
from rnnbench.cells import file_of, is_own
from rnnbench.check.families import changed_definitions, first_of_each, reach, reach_in_halves
from rnnbench.check.own_code import refuse_foreign
from rnnbench.check.requirements import compared
from rnnbench.check.same_code import (
    Changed,
    SameCode,
    Used,
    are_on_both,
    changed_files,
    lacking_files,
    runs_lent_code,
    same_code,
    shared_library,
    still_same,
    used_files,
    with_used,
)
from rnnbench.check.sides import Side, SteadyFiles
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import MAX_LAYOUTS, PACKAGE_PARENT, Origin, not_forked
from rnnbench.harness.coordinator.process import USUAL_START, WorkerProcess, WorkerStart, refuse_hello
from rnnbench.harness.coordinator.recorder import Recorder, WorkerFiles
from rnnbench.harness.coordinator.start import why_not_forked
from rnnbench.harness.coordinator.visit import Visitor
from rnnbench.harness.devices import backend, is_forkable, kinds_to_ask
from rnnbench.harness.machine.quiet_core import KeptPulse
from rnnbench.harness.protocol import Building, Doubt, device, release
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import NOT_REACHED, Case, Group, Workload
from rnnbench.store.user_cache import private_folder
from rnnbench.suite.file import Settings
from rnnbench.suite.outline import cases_of
from rnnbench.text import plural

ORIGIN_PAIRS = 4  # pairs forked from one process; the next ones have another hash seed and other addresses
GUESSED_START_SECONDS = 1.0  # of a pair, before the second was started
GUESSED_UNTIMED_SECONDS = 0.1  # of a case in a pair, before the first visit
MIN_TO_SHARE = 4  # cases of which each side is asked about a half, if both have the same code
PAIRS_WANTED = 20  # in a budget: pairs tell more than longer turns in fewer of them
LEAST_PAIRS_WANTED = 8  # where more of them would spend less than half of their time in turns
# Of a case's turns on one side in a pair. Shorter ones are not worth the start of a pair and the preparation of its
# cases, and in longer ones pairs differ more than turns do.
MIN_CASE_SECONDS = 0.03
MAX_CASE_SECONDS = 0.3


def start_worker(name: str, side: Side, start: WorkerStart) -> WorkerProcess:
    """Start a worker that runs a side's code with the side's interpreter; all else is as `start` says."""
    of_side = replace(start, python=side.python, paths=side.paths, variables=side.variables, folder=side.folder)
    return WorkerProcess(name, of_side)


def seconds_of_turns(untimed: float, seconds_left: float, pairs_before: int) -> float:
    """Return the seconds that the next pair should spend in turns, if it takes `untimed` seconds beside them.

    As long as all else takes, or longer if there will be many pairs anyway; shorter if there would be too few.
    """
    for_many_pairs = seconds_left / max(1, PAIRS_WANTED - pairs_before) - untimed
    for_least_pairs = seconds_left / max(1, LEAST_PAIRS_WANTED - pairs_before) - untimed
    return max(for_many_pairs, min(untimed, for_least_pairs))


class PairedRunner(Visitor):
    """Measures the same cases on both sides; the sides take turns at each case. At most one pair exists at a time."""

    def __init__(
        self,
        sides: Sequence[Side],
        cases: Sequence[Case],
        settings: Settings,
        *,
        start_worker: Callable[..., WorkerProcess] = start_worker,
        now: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        super().__init__(settings, now, seed)
        self.sides = {side.name: side for side in sides}
        self.same = SameCode()  # the cases that run the same code on both sides
        self._changed: Changed = {}  # the files that differ
        self._used_at_first: Used | None = None  # when the cases were asked what they run
        self.definitions: dict[str, frozenset[str]] = {}  # of each case, those that it may run and that differ
        self.only_lent: frozenset[str] = frozenset()  # cases of which the base has only the code that it was lent
        self.ratios = defaultdict[str, list[PairRatio]](list)  # by case, one from each pair
        self.set_aside = defaultdict[str, list[PairRatio]](list)  # those in which a GPU's clock ran at unlike rates
        self.notes: list[str] = []
        self._kept_pulses: dict[str, KeptPulse] = {}  # of each interpreter
        self._cases = cases
        self._start_worker = start_worker
        self._started = 0  # pairs
        self._starts = deque[float](maxlen=ORIGIN_PAIRS)  # seconds that each of the last pairs took to start
        self._layout = 0  # of the memory of the workers that are started now, on both sides
        # Users' cells that workers import first, so that what this changes stays.
        self._imports = list(dict.fromkeys(name for case in cases for name in case.named_code if is_own(name)))
        self._devices = list(dict.fromkeys(case.workload.device for case in cases))
        has_one_python = len({side.python for side in sides}) == 1
        self._may_fork = sys.platform == "linux" and has_one_python and all(map(is_forkable, self._devices))
        self._origin: Origin | None = None  # of the workers, if they may be forked
        self._has_asked = False  # a forked worker whether it can use the devices
        # Seconds of each case of a group in its last visit on both sides: of its turns, and of all else, such as the
        # preparation.
        self._costs: dict[Workload, tuple[float, float]] = {}
        self._numbers_of_files: list[int] = []  # that were known when it was last asked whose they are

    def record(self, folders: Mapping[str, RunFolder]) -> None:
        """Keep each side's records in its folder, which lists all cases from now on."""
        self.recorders = {
            name: Recorder(folders[name], self._cases, side.root, self.settings, in_words=side.in_words)
            for name, side in self.sides.items()
        }

    def start(self, *, again: bool = True) -> dict[str, dict[str, Any]]:
        """Start both workers of a pair at the same time; returns the hello of each side's worker.

        If one is lost on the way, a pair is started once more, and no worker imports users' cells at its start from
        then on: if it did not survive these, only their own cases fail. Raises UserError if one can't start or is too
        old.
        """
        self._refuse_lone_devices()
        began = self._now()
        name = f"{self._started:04d}"
        self._started += 1
        # Both get the same hash seed and addresses, new ones in each pair: their effect on the time is shared.
        self._layout = self._rng.randrange(MAX_LAYOUTS)
        if self._may_fork and self._started % ORIGIN_PAIRS == 1:
            if self._origin is not None:
                self._origin.close()
            first = {side.paths[0] for side in self.sides.values()}
            is_same = {(folder / "rnnbench").resolve() for folder in first} == {PACKAGE_PARENT / "rnnbench"}
            preload = next(iter(first)) if is_same and len(first) == 1 else None
            python = next(iter(self.sides.values())).python
            kinds = kinds_to_ask(self._devices)
            self._origin = Origin(python, self._layout, preload=preload, kinds=kinds)
        self.workers = {}
        # The token of a visit goes round in pipes, each from a worker to the next one. Only the workers keep them open.
        hellos: dict[str, dict[str, Any]] = {}
        pipes = [os.pipe() for _ in self.sides]
        tokens = [(before[0], after[1]) for before, after in zip(pipes, [*pipes[1:], pipes[0]], strict=True)]
        try:
            # In random order: the one that is forked first is slower by a few thousandths.
            for side, token in self._rng.sample(list(zip(self.sides, tokens, strict=True)), len(self.sides)):
                self.workers[side] = self.start_one(name, side, WorkerStart(token=token))
            for each, about in self.sides.items():
                with about.errors_in_words():
                    hellos[each] = self.workers[each].wait_ready()
                    refuse_hello(hellos[each], f"{each} ({about.about}): ")
        except UserError:
            if not again:
                raise
            self.close()
            self._imports = []
            return self.start(again=False)
        finally:
            for end in itertools.chain(*pipes):
                os.close(end)
        if self._left_out_imports() or not self._may_go_on():
            self.close()
            return self.start(again=again)
        for each, about in self.sides.items():
            if about.python not in self._kept_pulses:
                self._kept_pulses[about.python] = kept_pulse = KeptPulse(
                    private_folder(), str(hellos[each].get("python"))
                )
                if (best := kept_pulse.best_seconds()) is not None:
                    self.best_pulses[about.python] = best
        self._starts.append(self._now() - began)
        return hellos

    @property
    def _start_seconds(self) -> float:
        """Seconds that a pair takes to start, on average: one of some pairs waits for its process of origin."""
        return fmean(self._starts) if self._starts else 0.0

    def _left_out_imports(self) -> bool:
        """Return True if an import failed in this pair. Later ones don't begin with that package.

        What it had imported before it failed stays in the modules of this pair, where its cases would seem to work.
        """
        failed = {str(worker.first_reply.get("unimportable") or "") for worker in self.workers.values()} - {""}
        packages = {file_of(target).partition(".")[0] for target in failed}
        self._imports = [target for target in self._imports if file_of(target).partition(".")[0] not in packages]
        return bool(failed)

    def _may_go_on(self) -> bool:
        """Return False if this pair can't use its devices because it was forked; no worker is forked from then on.

        One worker of the first pair is asked whether it can. If the origin itself knew that its forks can't, the pair
        was started without it.
        """
        if self._origin is None:
            return True
        fault = self._origin.fault
        answer = ""
        if not fault and not self._has_asked:
            self._has_asked = True
            worker = next(iter(self.workers.values()))
            names = [name for name in self._devices if not backend(name).runs_host_code]
            answer = why_not_forked(
                {name: worker.request(device(name), self.settings.deadline_seconds) for name in names}
            )
        if fault or answer:
            self._origin.close()
            self._origin = None
            self._may_fork = False
            self.notes.append(not_forked(fault or answer))
        return not answer

    def _refuse_lone_devices(self) -> None:
        """Raise UserError if a device takes one process only; tell what a pair has of the memory of one that it shares.

        Both sides hold their cases at once.
        """
        if self._started:
            return
        for name in self._devices:
            if reason := backend(name).why_no_pair(name):
                raise UserError(reason)
            self.notes += filter(None, [backend(name).shared_memory(name)])

    def start_one(self, name: str, side: str, start: WorkerStart = USUAL_START) -> WorkerProcess:
        """Start a worker of a side, which does not become part of a pair; `start`: of its pair or its command."""
        about = self.sides[side]
        imports = Building(str(about.root), 0).imports(self._imports, str(about.tree or ""))
        first = imports if self._imports else None
        of_pair = replace(start, layout=self._layout, first=first, origin=self._origin)
        return self._start_worker(name, about, of_pair)

    def end(self) -> None:
        """End everything that was started, and keep the best pulse of each interpreter."""
        self.close()
        for python, kept_pulse in self._kept_pulses.items():
            if python in self.best_pulses:
                kept_pulse.keep(self.best_pulses[python])
        if self._origin is not None:
            self._origin.close()

    def observe(
        self,
        groups: Sequence[Group],
        on_done: Callable[[int, int], None] = lambda done, total: None,
        seconds_left: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """Check and observe the cases on both sides, before any timing; a pair that was started is used and ended.

        One case of each changed definition comes first, whatever it takes; the others only while seconds are `left`,
        or they are not reached.
        """
        ready = self.workers
        self.workers = {}
        cases = cases_of(groups)
        first = first_of_each(cases, self.definitions)
        in_order = [*first, *(case for case in cases if case not in first)]
        self.observe_cases(in_order, on_done, ready=ready, is_needed=lambda case: case in first or seconds_left() > 0)
        for recorder in self.recorders.values():
            for case in in_order:
                if recorder.unobserved(case):
                    recorder.drop(case, "pending", NOT_REACHED)
        self._refuse_foreign()

    def find_same(self, cases: Sequence[Case], on_done: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Find the cases that run the same code on both sides, by the pair that was started; `same` has them."""
        base = self.sides["base"]
        head = self.sides["head"]
        if (changed := changed_files(base, head)) is None:
            return
        reached: dict[str, dict[str, Any]] | None = None
        if {*changed.values()} - {"suite"}:
            is_code_equal = "python" not in changed.values() and are_on_both(changed, base, head)
            has_many = len(cases) >= MIN_TO_SHARE
            trees = {name: str(side.tree) for name, side in self.sides.items()}
            ask = reach_in_halves if is_code_equal and has_many else reach
            reached = ask(self, trees, cases, on_done)
            self.definitions = {key: changed_definitions(replies) for key, replies in reached.items()}
            self.only_lent = frozenset(
                key for key, replies in reached.items() if runs_lent_code(replies.get("base", {}), base.lent)
            )
        else:  # the reply tells the files that were used
            self.on_each(lambda name: self.recorders[name].ask(self.workers[name], release()))
        self._refuse_foreign()
        self._used_at_first = used_files(base, head, self.files())
        self._changed = with_used(changed, self._used_at_first, base, head)
        is_on_both = are_on_both(self._changed, base, head)
        keys = [case.key for case in cases]
        self.same = same_code(self._changed, self._used_at_first, reached, keys, is_on_both=is_on_both)
        self._compare_requirements(base, head)

    def _compare_requirements(self, base: Side, head: Side) -> None:
        """Tell which requirements have changed, and leave no case among the `same` if one is not what is installed."""
        files = [file for file, kind in self._changed.items() if kind == "packaging"]
        if base.tree is not None and head.tree is not None and files:
            differences = compared(base.tree, head.tree, files, head.python)
            self.notes[:0] = differences.notes
            if differences.doubt:
                self.same = self.same.but(self.same.cases, Doubt("changed", differences.doubt))

    def look_again(self) -> None:
        """Leave no case among the `same` if a pair has used a changed file since the cases were asked."""
        used = used_files(self.sides["base"], self.sides["head"], self.files())
        self.same = still_same(self.same, self._changed, self._used_at_first, used)

    def counters(self) -> dict[str, tuple[Callable[..., WorkerProcess], Building]]:
        """Return functions that start a worker which counts, on each side and in a new layout, and its requests."""
        self._layout = self._rng.randrange(MAX_LAYOUTS)
        return {
            name: (partial(self.start_one, "counter", name), recorder.building)
            for name, recorder in self.recorders.items()
        }

    def replicate(
        self,
        groups: Sequence[Group],
        seconds_left: float,
        on_visit: Callable[[int], None] = lambda done: None,
        *,
        is_observed: bool = True,
    ) -> None:
        """Let a fresh pair visit every group once, in a share of the seconds that are `left` of the budget.

        `on_visit` gets the number of finished visits before each. Raises UserError if a side has used files of the
        other one since, for example by an import in a late call.
        """
        if not self.workers:
            self.start()
        case_seconds = self._case_seconds(groups, seconds_left)
        for done, group in enumerate(self._rng.sample(groups, len(groups))):
            on_visit(done)
            if not self.workers:  # the last visit ended with none
                self.start()
            visited = self.visit(group, case_seconds, is_observed=is_observed)
            windows = visited.windows
            base = times_by_case(windows["base"])
            head = times_by_case(windows["head"])
            for case in base:
                of_side = [[window for window in windows[name] if window.case == case] for name in ("base", "head")]
                ratio = pair_ratio(self.replicates, base[case], head[case], *of_side)
                chosen = self.set_aside if ratio.unlike_clocks else self.ratios
                chosen[case].append(ratio)
            timed = sum(window.host_seconds for of_side in windows.values() for window in of_side)
            cases = len(group.cases)
            self._costs[group.workload] = timed / cases, max(0.0, visited.seconds - timed) / cases
        self.close()
        self.replicates += 1
        self._refuse_foreign()

    def _case_seconds(self, groups: Sequence[Group], seconds_left: float) -> float:
        """Return the seconds for all turns of a case on one side in the next pair."""
        costs = [self._costs[group.workload] for group in groups if group.workload in self._costs]
        untimed = fmean(untimed for _, untimed in costs) if costs else GUESSED_UNTIMED_SECONDS
        cases = len(cases_of(groups))
        timed = seconds_of_turns(self._start_seconds + untimed * cases, seconds_left, self.replicates)
        return min(MAX_CASE_SECONDS, max(MIN_CASE_SECONDS, timed / cases / len(self.sides)))

    def expected_seconds(self, groups: Sequence[Group]) -> float:
        """Return the expected seconds of another replicate of these groups, judged by the last one, or guessed."""
        guessed = (len(self.sides) * MIN_CASE_SECONDS, GUESSED_UNTIMED_SECONDS)
        visits = sum(sum(self._costs.get(group.workload, guessed)) * len(group.cases) for group in groups)
        # The first pair waits for the import of torch, from which later ones are forked.
        start = self._start_seconds if self._started > 1 else min(self._start_seconds, GUESSED_START_SECONDS)
        return (0.0 if self.workers else start) + visits

    def interpreter(self, side: str) -> str:
        """As `Visitor.interpreter`."""
        return self.sides[side].python

    def _refuse_foreign(self) -> None:
        """Raise UserError if a side used files of the other one; takes a while only after it used further files."""
        of_sides = self.files()
        numbers = [len(names) for files in of_sides.values() for names in (files.imported, files.opened)]
        if numbers != self._numbers_of_files:
            self._numbers_of_files = numbers
            imported = {name: files.imported for name, files in of_sides.items()}
            opened = {name: files.opened for name, files in of_sides.items()}
            refuse_foreign(self.sides["base"], self.sides["head"], imported, opened)

    def refuse_changed(self, steady: SteadyFiles) -> None:
        """Raise UserError if a file that workers used, and none of them wrote, has changed since the check began."""
        of_sides = self.files()
        names = {name: [*files.imported.values(), *files.opened] for name, files in of_sides.items()}
        steady.refuse_changed(names, itertools.chain(*(files.written for files in of_sides.values())))

    def clock_notes(self) -> list[str]:
        """As `Visitor.clock_notes`, and how many ratios were set aside."""
        notes = super().clock_notes()
        if count := sum(map(len, self.set_aside.values())):
            notes.append(
                f"{plural(count, 'ratio')} set aside: the clock of the GPU ran at unlike rates on the two sides"
            )
        return notes

    def files(self) -> dict[str, WorkerFiles]:
        """Return the files that the workers of each side have used so far."""
        return {name: recorder.files for name, recorder in self.recorders.items()}

    def apart(self) -> dict[str, str]:
        """Return the cases (keys) whose sides can't be compared because of files that git does not track, and why."""
        base = self.sides["base"]
        head = self.sides["head"]
        keys = [case.key for case in self._cases]
        of_all = shared_library(base, head, self.files())
        if of_all:
            return dict.fromkeys(keys, of_all)
        lacking = lacking_files(base, head, self.files()["base"].missed)
        if None in lacking:
            return dict.fromkeys(keys, lacking[None])
        return {key: why for key, why in lacking.items() if key is not None}

"""The coordinator: cases are checked, then timed in replicates, in each of which a fresh worker visits groups.

Whatever the first ratio does not need comes after the first replicate: the limits of the machine, counts, energy.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from rnnbench.analysis.replicate_times import quiet_share, times_by_case
from rnnbench.harness import protocol
from rnnbench.harness.coordinator.environment import Telemetry
from rnnbench.harness.coordinator.kept_rates import KeptRates
from rnnbench.harness.coordinator.process import OBSERVER, Asker, WorkerProcess, WorkerStart, ready
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.coordinator.start import NEW_RUN, EarlierRun, RunStart
from rnnbench.harness.coordinator.visit import Visitor
from rnnbench.harness.devices import core_choices, is_shared
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.quiet_core import KeptPulse
from rnnbench.harness.machine.variables import library_notes
from rnnbench.harness.protocol import Reply, Request
from rnnbench.harness.turns.planner import Planner, split
from rnnbench.harness.turns.schedule import Progress, sweeps_in_turn
from rnnbench.store.ceilings import Ceiling, best_of
from rnnbench.store.folder import RunFolder
from rnnbench.store.implementations import COMPILED
from rnnbench.store.records import NOT_REACHED, NOT_TIMED_ALONE, Case, DType, Group
from rnnbench.store.user_cache import private_folder
from rnnbench.suite.file import Settings
from rnnbench.suite.outline import cases_of, is_compared

SIDE = ""  # name of the only side of a visit
CEILING_PASSES = 2  # over each limit of the machine, in a run that has this many seconds; a shorter one has one pass
LONG_SECONDS = 60.0
FORK_SECONDS = 0.5  # of a worker's start by a fork, before the first one was started
CHECKING_SHARE = 0.5  # of the budget, at most; the rest is for timing what was checked by then
OBSERVING_SHARE = 0.15  # of the budget that is left after that: for the limits of the machine and for counts
ENERGY_SHARE = 0.2  # of the budget that is left after that
COUNTING = "counting what calls do"
NOTHING_TO_COMPARE = "the run ended early: every case that is compared with a reference failed or was skipped"


class Runner(Visitor):
    """Measures groups into a run folder, in as many replicates as the precision needs and the budget allows."""

    def __init__(
        self,
        groups: Sequence[Group],
        settings: Settings,
        start: RunStart,
        folder: RunFolder,
        *,
        root: Path,
        earlier: EarlierRun = NEW_RUN,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        """Measure into `folder`, which lists every case from now on, new ones as pending.

        `root` is the folder that the files of a user's own cells are relative to; `earlier` is that of a run, or of a
        part, to resume.
        """
        super().__init__(settings, start.now, start.seed)
        self.groups = groups
        self.replicates = earlier.replicates
        self.stage_seconds: dict[str, float] = {}  # of what comes before the timing
        self.ceilings = [Ceiling.from_json(content) for content in earlier.ceilings]
        self.notes = library_notes()
        self._run_start = start
        self._folder = folder
        self._on_progress = on_progress
        self._start_worker = start.start_worker
        self._began = start.began - earlier.seconds
        prefix = "" if earlier.part is None else f"{earlier.part}-"  # other runners measure into the same folder
        self._names = (f"{prefix}{number:04d}" for number in itertools.count(earlier.workers))
        missing = {name: {"energy_joules": why} for name, reply in start.devices.items() if (why := reply["no_energy"])}
        recorder = Recorder(
            folder, cases_of(groups), root, settings, measurements=earlier.measurements, missing_on=missing
        )
        self.recorders = {SIDE: recorder}
        self._telemetry = [Telemetry(name, reply["uuid"]) for name, reply in start.devices.items() if reply["uuid"]]
        self._rates = KeptRates(private_folder(), start.software)
        self._pulse = KeptPulse(private_folder(), str(start.software.get("python")))
        if (best := self._pulse.best_seconds()) is not None:
            self.best_pulses[self.interpreter(SIDE)] = best
            self._pulses.best = best
        self._kept_back = 0.0  # seconds of the budget, for what comes after the first replicate
        self._timed = set[str]()  # keys of the cases that have windows
        self.planner = Planner(groups, settings)
        # The first worker waited for the import of torch, from which later ones are forked.
        is_forked = start.origins.current is not None
        self.planner.add_start(min(start.worker_seconds, FORK_SECONDS) if is_forked else start.worker_seconds)
        for group, windows, seconds in earlier.visits:
            self.planner.add_visit(group, seconds, times_by_case(windows), quiet_share(windows))
            self.remember(SIDE, windows)
            self._timed.update(window.case for window in windows)

    def run(self) -> None:
        """Measure all groups; passes KeyboardInterrupt on. Ends all workers."""
        try:
            self.begin()
            is_observed = False
            while chosen := self._next_visits():
                self._replicate(chosen)
                if not is_observed:
                    self.observe()
                    is_observed = True
                self.close()
            if all(not is_compared(group, self.failed) for group in self.groups):
                self.notes.append(NOTHING_TO_COMPARE)
            for case in cases_of(self.groups):  # that the budget left out
                measurement = self.recorders[SIDE].measurements[case.key]
                # A measured case without windows was prepared, and left to a later visit of another subgroup.
                is_untimed = measurement.status == "measured" and case.key not in self._timed
                if measurement.status == "pending" or is_untimed:
                    self.recorders[SIDE].drop(case, "pending", NOT_REACHED)
        finally:
            self.close()
            for best in self.best_pulses.values():
                self._pulse.keep(best)
            self.notes += [*self._run_start.origins.notes, *self.recorders[SIDE].notes, *self.clock_notes()]
            for telemetry in self._telemetry:
                self.notes += telemetry.notes()

    def begin(self) -> None:
        """Check the new cases, which comes before all timing."""
        self._stage("checking", self._check, CHECKING_SHARE * self._seconds_left)
        self._leave_out_references(self.groups)
        if self.settings.budget_seconds is not None:
            self._kept_back = OBSERVING_SHARE * max(0.0, self._seconds_left)

    def observe(self) -> None:
        """Do what may come after the first ratios, each stage in its share of the budget.

        The worker of the replicate begins with it, since it will time nothing more. Limits that are not known yet take
        what they take, and leave half of the share to the probes.
        """
        share = self._kept_back if self.settings.budget_seconds is not None else math.inf
        self._kept_back = 0.0
        began = self._now()
        start = partial(self.start_one, OBSERVER, SIDE)
        with closing(Asker(self.settings, start, self.workers.pop(SIDE, None))) as asker:
            self._stage("ceilings", partial(self._measure_ceilings, asker), share)
            seconds = share - (self._now() - began)
            self._stage("observing", partial(self._probe, asker), max(seconds, share / 2))
        self._stage("energy", self._measure_energy, ENERGY_SHARE * self._seconds_left)

    def _stage(self, name: str, stage: Callable[[float], None], seconds: float) -> None:
        """Run a stage, which gets the time at which it should end, and note how long it takes."""
        began = self._now()
        stage(began + seconds)
        self.stage_seconds[name] = round(self._now() - began, 1)

    def start(self) -> None:
        """Start a worker of the replicate; raises UserError if none can start."""
        began = self._now()
        origin = self._run_start.origins.of_next_replicate()
        worker, _ = ready(lambda: self._start_worker(next(self._names), WorkerStart(origin=origin)))
        self.workers = {SIDE: worker}
        self.planner.add_start(self._now() - began)

    def start_one(self, name: str, side: str) -> WorkerProcess:
        """Start a worker."""
        return self._start_worker(name, WorkerStart(origin=self._run_start.origins.current))

    def timed_together(self, group: Group, cases: list[Case]) -> list[Case]:
        """Return the cases of the first subgroup if the group must be split, which shows in its first visit."""
        if not self.planner.is_whole(group):
            return cases
        seconds = {case.key: self._seconds[SIDE, case.key][0] for case in cases}
        subgroups = split(group, seconds, self._pulses.quiet_share if is_shared(group.workload.device) else None)
        if len(subgroups) == 1:
            return cases
        self.planner.split(group, subgroups)
        return [case for case in cases if case in subgroups[0].cases]

    @property
    def _seconds_left(self) -> float:
        """Seconds left of the budget, without those that are kept back for observing; infinite without a budget."""
        return (self.settings.budget_seconds or math.inf) - self.seconds - self._kept_back

    def _next_visits(self) -> list[Group]:
        """Return the groups of the next replicate, from a new origin if it is due and the budget allows its start."""
        origins = self._run_start.origins
        if origins.is_due:
            if chosen := self.planner.next_visits(self._seconds_left - self._run_start.worker_seconds):
                return chosen
            origins.stay()
        return self.planner.next_visits(self._seconds_left)

    def _measure_ceilings(self, asker: Asker, until: float) -> None:
        """Measure the limits of each device for each dtype and number of threads, pinned as its cases will be."""
        passes = CEILING_PASSES if (self.settings.budget_seconds or math.inf) >= LONG_SECONDS else 1
        for place in dict.fromkeys(group.workload.place for group in self.groups):
            device, _, threads = place
            if device not in self._run_start.unusable and threads <= len(allowed_cores()):  # else its cases are skipped
                if (rates := self._rates.ceiling_at(place)) is not None:
                    self.ceilings = best_of([*self.ceilings, rates])
                    continue
                ask = partial(asker.ask, cores=core_choices(device, threads)[0])
                self._measure_ceiling(ask, place, passes=passes)

    def _measure_ceiling(
        self, ask: Callable[[Request], Reply], place: tuple[str, DType, int], *, passes: int = 1, again: bool = False
    ) -> None:
        """Measure the limits of a place in so many passes, perhaps again; a note says why if they can't be measured."""
        kernels = str(self._run_start.kernels)
        (device, dtype, _) = place
        best_pulse = self.best_pulses.get(self.interpreter(SIDE))
        reply = ask(protocol.ceiling(*place, kernels, passes=passes, again=again, best_pulse=best_pulse))
        if reply["ok"]:
            measured = Ceiling.from_json(reply["ceiling"])
            if again:
                self._rates.correct(measured)
            elif not reply["no_kernels"]:
                measured = self._rates.keep(measured, reply.get("quiet_share"))
            self.ceilings = best_of([*self.ceilings, measured])
            if missing := reply["no_kernels"]:
                self.notes.append(f"the limits of the processor are those of its fastest product and copy: {missing}")
        elif not again:
            self.notes.append(f"the limits of {device} in {dtype} were not measured: {reply['reason']}")

    def _check(self, until: float) -> None:
        """Check the new cases, one device after the other.

        The reference of a group comes last, and not at all if all others failed.
        """
        groups = {group.workload: group for group in self.groups}
        cases = [
            case
            for group in sweeps_in_turn(self.groups)
            for case in sorted(group.cases, key=lambda case: case.is_reference)
            if self.recorders[SIDE].unobserved(case)
        ]
        if math.isfinite(until):  # compiling may take all of the budget: what needs none is ready before
            cases.sort(key=lambda case: case.implementation in COMPILED)
        self.observe_cases(
            cases,
            lambda done, total: self._on_progress(Progress(0, done, total, None)),
            ready={SIDE: self._run_start.first.worker},
            seconds_left=lambda: until - self._now(),
            is_needed=lambda case: not case.is_reference or is_compared(groups[case.workload], self.failed),
            # What is compiled is observed at once, since its probes would compile it again.
            operation=lambda case: "observe" if case.implementation in COMPILED else "check",
        )

    def _probe(self, asker: Asker, until: float) -> None:
        """Run the probes of all cases that work, those that were timed first; says of the others why there are none."""
        recorder = self.recorders[SIDE]
        all_cases = cases_of(sweeps_in_turn(self.groups))
        cases = sorted(filter(recorder.needs_probes, all_cases), key=lambda case: case.key not in self._timed)
        ratios = self.planner.ratios()
        if cases:
            self.observe_cases(
                cases,
                lambda done, total: self._on_progress(Progress(0, done, total, None, stage=COUNTING, ratios=ratios)),
                ready={SIDE: asker.worker},
                seconds_left=lambda: until - self._now(),
                operation=lambda case: "probe",
            )
        for case in filter(recorder.needs_probes, cases):
            recorder.note_not_probed(case)

    def _leave_out_references(self, groups: Sequence[Group]) -> None:
        """Time no more of the groups in which nothing is left that could be compared with the reference.

        Cases that were not observed in the budget may be in a run that is resumed.
        """
        recorder = self.recorders[SIDE]
        for group in groups:
            if not is_compared(group, lambda case: self.failed(case) or recorder.unobserved(case)):
                self.planner.leave_out(group)
            if not is_compared(group, self.failed):
                for case in group.cases:
                    if case.key not in self._timed and not self.failed(case):
                        recorder.drop(case, "skipped", NOT_TIMED_ALONE)

    def _measure_energy(self, until: float) -> None:
        """Measure the energy of each case if there is a counter for it, one case after another."""
        with closing(Asker(self.settings, partial(self.start_one, OBSERVER, SIDE))) as asker:
            for case in cases_of(sweeps_in_turn(self.groups)):
                measurement = self.recorders[SIDE].measurements[case.key]
                has_no_counter = self._run_start.devices[case.workload.device]["no_energy"]
                if not measurement.works or "energy_joules" in measurement.metrics or has_no_counter:
                    continue
                reply: Reply = {"ok": False, "reason": f"not reached within {ENERGY_SHARE:.0%} of the budget"}
                if self._now() < until:
                    request = self.recorders[SIDE].building.request(
                        "energy", case, window_seconds=self.settings.window_seconds
                    )
                    reply = asker.ask(request, core_choices(case.workload.device, case.workload.cores)[0])
                missing = reply["missing"] if reply["ok"] else {"energy_joules": reply["reason"]}
                self.recorders[SIDE].add_metrics(case, reply.get("values", {}), missing)

    def _replicate(self, chosen: Sequence[Group]) -> None:
        """Let a fresh worker visit groups; it is left running, if it is not lost."""
        # Shuffled, but with all sweeps in turn: the budget may end within the replicate. A GPU's driver has threads of
        # its own, so what runs on the processor comes first.
        shuffled = sweeps_in_turn(self._rng.sample(chosen, len(chosen)))
        visits = sorted(shuffled, key=lambda group: not is_shared(group.workload.device))
        visited: list[Group] = []
        self.most_blocks = self.planner.most_blocks(visits, self._seconds_left)
        self.start()
        self._sample("before")
        for done, group in enumerate(visits):
            seconds_left = self._seconds_left
            self._tell(done, len(visits))
            if seconds_left < 0:
                break
            if not self.workers:  # the last visit ended with none
                self.start()
            visit = self.visit(group, self.planner.case_seconds)
            windows = visit.windows[SIDE]
            self.planner.add_visit(group, visit.seconds, times_by_case(windows), quiet_share(windows))
            self._timed.update(window.case for window in windows)
            self._leave_out_references([group])
            visited.append(group)
            self._sample("visit", group.workload.device)
        if visited:
            self._tell(len(visited), len(visits))
        # In the worker that timed them: the processor may run faster by now. A lost worker changes nothing.
        measured = {ceiling.place for ceiling in self.ceilings} if self.workers else set()
        for place in dict.fromkeys(group.workload.place for group in visited):
            if place in measured:
                self.workers[SIDE].pin(core_choices(place[0], place[2])[0])
                self._measure_ceiling(partial(self.recorders[SIDE].ask, self.workers[SIDE]), place, again=True)
        self.replicates += 1

    def _tell(self, done: int, visits: int) -> None:
        """Tell how many visits of this replicate are done, and the ratios so far."""
        seconds_left = self.planner.seconds_left(self._seconds_left)
        self._on_progress(Progress(self.replicates + 1, done, visits, seconds_left, ratios=self.planner.ratios()))

    def _sample(self, when: str, device: str = "") -> None:
        """Sample a device, or all of them."""
        for telemetry in self._telemetry:
            if device in ("", telemetry.device):
                self._folder.add_sample(telemetry.sample(self.replicates, when, self.seconds))

"""What is known about each case of a side: the replies of its workers, in memory and in the run's folder."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rnnbench.harness.coordinator.process import WorkerProcess, deadline_seconds
from rnnbench.harness.protocol import Building, Reply, Request
from rnnbench.store.folder import RunFolder
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.records import ENDED_BEFORE, Case, Failure, Measurement, Status, Window, without_kept_work
from rnnbench.suite.file import Settings

NOT_PROBED = "not reached within the share of the budget that counting may take"
FIRST_PROBED = "parameters"  # a metric that the probes of every model read


@dataclass
class WorkerFiles:
    """The files outside of installed packages that the workers of a side have used; all paths are absolute."""

    imported: dict[str, str] = field(default_factory=dict)  # module -> its file
    opened: dict[str, None] = field(default_factory=dict)
    read: dict[str, None] = field(default_factory=dict)  # of the opened ones, what was not opened for an import alone
    written: dict[str, None] = field(default_factory=dict)  # what was opened to write
    libraries: dict[str, None] = field(default_factory=dict)  # files of compiled code that were loaded
    # Paths that were asked for and not found -> the keys of the cases that asked; None: the import of all code.
    missed: dict[str, set[str | None]] = field(default_factory=dict)

    def note(self, reply: Reply, case_key: str | None) -> None:
        """Add the files that a reply tells, about a case or about none."""
        self.imported |= reply.get("imported", {})
        for name in ("opened", "read", "written", "libraries"):
            getattr(self, name).update(dict.fromkeys(reply.get(name, [])))
        for path, is_case in reply.get("missed", {}).items():
            self.missed.setdefault(path, set()).add(case_key if is_case else None)


class Recorder:
    """What is known about each case of a run, in memory and in the run's folder."""

    def __init__(
        self,
        folder: RunFolder,
        cases: Iterable[Case],
        root: Path,
        settings: Settings,
        *,
        measurements: Mapping[str, Measurement] = MappingProxyType({}),
        missing_on: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        in_words: Callable[[str], str] = str,
    ) -> None:
        """Write into `folder`; `cases` that are not among the earlier `measurements` become pending there.

        `root` is the folder that files of a user's own cells are relative to; `missing_on` has for each device the
        metrics that it can't have, and why; `in_words` rewrites reasons for people.
        """
        self.folder = folder
        self._settings = settings
        self._missing_on = missing_on
        self._in_words = in_words
        self.building = Building(str(root.resolve()), settings.compiled_steps)
        self.measurements = dict(measurements)  # case key -> its last line in measurements.jsonl
        self.faults: dict[str, Reply] = {}  # case key -> the reply for which it was dropped
        self._cells_in_notes = set[str]()  # the cells of which the notes say how they are built
        self.notes: dict[str, None] = {}  # for the reader: about lost workers, and about how the cases were timed
        self.files = WorkerFiles()
        for case in cases:
            if case.key not in self.measurements:
                self._record(Measurement(case, "pending", ENDED_BEFORE))

    def ask(self, worker: WorkerProcess, request: Request) -> Reply:
        """Return the worker's reply, which says so if the worker is lost; keep the files that it used."""
        reply = worker.request(request, deadline_seconds(request, self._settings))
        self.files.note(reply, Case.from_axes(request["case"]).key if "case" in request else None)
        return reply

    def note_observed(self, case: Case, reply: Reply) -> None:
        """Keep what was observed, or drop the case."""
        self.files.note(reply, case.key)
        if not reply["ok"]:
            self.note_fault(case, reply)
            return
        observed = Measurement.from_json(reply["measurement"])
        missing = {**observed.missing, **self._missing_on.get(case.workload.device, {})}
        self._record(replace(observed, case=case, status="pending", reason=ENDED_BEFORE, missing=missing))

    def note_prepared(self, case: Case, reply: Reply) -> None:
        """Count a case as measured from now on; tell how its class was built, and which settings its code has set."""
        if reply.get("built_by") and case.cell not in self._cells_in_notes:
            self._cells_in_notes.add(case.cell)
            self.notes[f"{case.cell} was built by {reply['built_by']}"] = None
        if reply.get("sets"):
            self.notes[f"{case.cell} itself sets {_listed(reply['sets'])}, and is timed so"] = None
        if reply.get("overruled"):
            self.notes[f"{case.cell} itself sets {_listed(reply['overruled'])}, but the suite's dtype decides"] = None
        measurement = self.measurements[case.key]
        if measurement.status == "pending":
            self._record(replace(measurement, status="measured", reason="", warmup_windows=reply["warmup_windows"]))

    def windows(self, worker: str, reply: Reply, replicate: int, started: float) -> list[Window]:
        """Return the windows of a visit by a worker with this name; `started`: seconds since the run began."""
        lines = reply["windows"]
        for line in lines:
            if line.pop("printed", False):
                cell = self.measurements[line["case"]].case.cell
                self.notes[f"{cell} prints in its calls, so printing is part of its time"] = None
        place = {"worker": worker, "replicate": replicate, "started": started, "turns": len(lines)}
        return [Window.from_json({**line, **place, "order": order}) for order, line in enumerate(lines)]

    def needs_probes(self, case: Case) -> bool:
        """Return True if a case works, and its probes have not run yet."""
        measurement = self.measurements[case.key]
        reason = measurement.missing.get(FIRST_PROBED, "")
        return measurement.works and FIRST_PROBED not in measurement.metrics and reason in ("", NOT_PROBED)

    def note_probed(self, case: Case, reply: Reply) -> None:
        """Keep what the probes of a case have found; if they failed, all of it is missing, and the case stays."""
        self.files.note(reply, case.key)
        if reply["ok"]:
            values = {**reply["values"]}
            backend = values.pop("backend", "")
            self.add_metrics(case, values, {**reply["missing"]}, backend=backend)
        else:
            self.note_not_probed(case, f"its probes failed: {reply['reason']}")

    def note_not_probed(self, case: Case, reason: str = NOT_PROBED) -> None:
        """Say why the probes of a case have found nothing."""
        measurement = self.measurements[case.key]
        names = [metric.name for metric in OBSERVED if metric.name not in (*measurement.metrics, *measurement.missing)]
        self.add_metrics(case, {}, dict.fromkeys([*names, FIRST_PROBED], reason))

    def add_metrics(
        self, case: Case, values: Mapping[str, Any], missing: Mapping[str, str], *, backend: str = ""
    ) -> None:
        """Add metrics to a case, and reasons why others are missing."""
        measurement = self.measurements[case.key]
        still_missing = {name: reason for name, reason in measurement.missing.items() if name not in values}
        self._record(
            replace(
                measurement,
                metrics={**measurement.metrics, **values},
                missing={**still_missing, **missing},
                backend=backend or measurement.backend,
            )
        )

    def note_fault(self, case: Case, reply: Reply) -> None:
        """Leave a case out from now on, because of this reply; what was measured is tried again in the next visit."""
        if reply["status"] == "skipped" and self.measurements[case.key].status == "measured":
            # Its device is gone, or memory is short, but what was measured stays valid.
            self.notes[f"some cases got fewer replicates: {self._in_words(reply['reason'])}"] = None
            return
        self.faults[case.key] = reply
        self.drop(case, reply["status"], reply["reason"], reply.get("failure"))
        if reply.get("failure") == "lost":
            self.notes[f"a worker was lost at {case.key}: {reply['reason']}"] = None

    def drop(self, case: Case, status: Status, reason: str, failure: Failure | None = None) -> None:
        """Leave a case out from now on; its row stays, with the reason and what is known about it."""
        measurement = self.measurements[case.key]
        self._record(replace(measurement, status=status, reason=self._in_words(reason), failure=failure))

    def dropped(self, case: Case) -> bool:
        """Return True if a case was skipped or has failed, and is left out from then on."""
        return self.measurements[case.key].status in ("skipped", "failed")

    def unobserved(self, case: Case) -> bool:
        """Return True if a case has not been observed yet, and so can't be timed."""
        measurement = self.measurements[case.key]
        return measurement.status == "pending" and not measurement.works

    def _record(self, measurement: Measurement) -> None:
        self.measurements[measurement.case.key] = self.folder.add_measurement(without_kept_work(measurement))


def _listed(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in settings.items())

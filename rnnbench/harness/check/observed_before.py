"""What an earlier check observed of the base's commit, so that a later one need not observe all of it again.

Parity, counts and memory follow from the commit, the suite, the machine and the versions. Where all of them are the
same, and a few cases observed again are as they were, the others are too.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnbench.analysis.environments.differences import differences
from rnnbench.errors import UserError
from rnnbench.store.folder import last_measurements, read_info
from rnnbench.store.metrics import METRICS
from rnnbench.store.records import ENDED_BEFORE, Case, Measurement
from rnnbench.store.run_info import RunInfo

MAX_READ = 20  # earlier checks, the newest first
CHECKED_OUT = "checked_out"  # key of an environment: `Side.checked_out`
OF_MEASURING = ("description", "measure", "check")  # parts of a suite that change nothing in what is observed
JUDGED = tuple(metric.name for metric in METRICS if metric.verdict)


@dataclass(frozen=True)
class ObservedBefore:
    """The cases of a base that an earlier check observed."""

    check: str = ""  # the name of its folder
    measurements: Mapping[str, Measurement] = field(default_factory=dict)  # by case's key, as before any timing

    def known(self, cases: Iterable[Case]) -> list[Case]:
        """The cases that need not be observed: those that are known, without the first one of each cell."""
        first = dict[str, Case]()
        known = [case for case in cases if case.key in self.measurements]
        return [case for case in known if first.setdefault(case.cell, case) is not case]

    def is_confirmed(self, observed: Iterable[Measurement]) -> bool:
        """Whether the known cases among those that were observed again are as they were."""
        again = (new for new in observed if new.case.key in self.measurements)
        return all(_judged(self.measurements[new.case.key]) == _judged(new) for new in again)


NOTHING = ObservedBefore()


def observed_before(out: Path, base: RunInfo) -> ObservedBefore:
    """What the newest check below `out` with the same base observed; nothing if there is none.

    `base`: the description of a base that is to be observed now. Only a commit in a temporary worktree is known by its
    number: any other folder may hold files that git does not track.
    """
    if CHECKED_OUT in base.environment:
        for folder in _bases(out, base.suite):
            with suppress(UserError):  # cut off, or of another version: there may be an older one
                if _is_same(read_info(folder), base) and (known := _known(folder)):
                    return ObservedBefore(folder.parent.name, known)
    return NOTHING


def _bases(out: Path, suite: str) -> Iterator[Path]:
    """The newest folders of bases of a suite."""
    found = out.glob(f"{suite}-*/base/run.json")
    newest = sorted(found, key=lambda file: file.parents[1].name.rsplit("-", 2)[-2:], reverse=True)
    yield from (file.parent for file in newest[:MAX_READ])


def _is_same(then: RunInfo, now: RunInfo) -> bool:
    return _identity(then) == _identity(now) and not differences(then, now)


def _identity(info: RunInfo) -> tuple[Any, ...]:
    """Code, suite and packages."""
    suite = {key: value for key, value in info.resolved.items() if key not in OF_MEASURING}
    steps = info.resolved.get("measure", {}).get("compiled_steps")
    packages = (info.environment.get("software") or {}).get("packages")
    return info.environment.get(CHECKED_OUT), suite, steps, packages


def _known(folder: Path) -> dict[str, Measurement]:
    """What was observed of the cases that worked."""
    return {key: _before_timing(case) for key, case in last_measurements(folder).items() if case.works}


def _before_timing(measurement: Measurement) -> Measurement:
    """What was known before the check timed a case and counted its instructions."""
    metrics = {name: value for name, value in measurement.metrics.items() if name != "instructions"}
    missing = {name: why for name, why in measurement.missing.items() if name != "instructions"}
    return replace(
        measurement, status="pending", reason=ENDED_BEFORE, warmup_windows=None, metrics=metrics, missing=missing
    )


def _judged(measurement: Measurement) -> tuple[Any, ...]:
    """What verdicts use of what was observed."""
    return measurement.works, measurement.parity, *(measurement.metrics.get(name) for name in JUDGED)

"""A run from start to end: the folder, the environment, the runner, and what is left when it is interrupted."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rnnbench.errors import UserError
from rnnbench.measure import environment
from rnnbench.measure.runner import Progress, Runner
from rnnbench.store.folder import RunFolder, RunInfo, RunStatus
from rnnbench.store.records import Group
from rnnbench.suites import Settings, Suite


class NoDevice(UserError):
    """None of the devices that the cases want is there."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run; its message is the folder that holds what was measured."""


def run_suite(
    suite: Suite,
    groups: Sequence[Group],
    settings: Settings,
    *,
    out: Path,
    command: str,
    on_progress: Callable[[Progress], None],
) -> Path:
    """Measure a suite into a new folder below `out`, and return the folder.

    Raises NoDevice, before anything is written, where every case would be skipped for want of its device, and
    UserError where `out` can't be written or no worker starts, and Interrupted on Ctrl-C: what was measured stays.
    """
    started = time.monotonic()
    runner = Runner(groups, settings, root=suite.file.parent, on_progress=on_progress)
    try:
        software = runner.start()
        unusable = software.pop("unusable")
        if all(group.workload.device in unusable for group in groups):
            raise NoDevice("; ".join(dict.fromkeys(unusable.values())))
        folder = RunFolder.create(out, suite.name)
        info = RunInfo(
            suite=suite.name,
            description=suite.content.description,
            resolved=suite.content.model_dump(mode="json") | {"measure": settings.model_dump(mode="json")},
            command=command,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            environment=environment.describe(suite.file.parent) | {"worker": software},
        )
        folder.write_info(info)
        status: RunStatus = "interrupted"
        try:
            runner.run(folder)
            status = "finished"
        except KeyboardInterrupt:
            raise Interrupted(str(folder.path)) from None
        finally:
            folder.write_info(
                replace(
                    info,
                    status=status,
                    seconds=round(time.monotonic() - started, 1),
                    replicates=runner.replicates,
                    notes=runner.notes,
                )
            )
            folder.close()
    finally:
        runner.close()
    return folder.path

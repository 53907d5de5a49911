"""What a job does: a local run of its part, into files of its own."""

import os
import secrets
import signal
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnbench.analysis.environments import differences
from rnnbench.errors import Interrupted, UserError
from rnnbench.harness.coordinator import environment
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.coordinator.session import RESUMABLE, ended, faults_in_words, recorded
from rnnbench.harness.coordinator.start import read_earlier_run, started
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.store.folder import RunFolder, info_bytes, read_info
from rnnbench.store.run_info import Note, RunInfo, RunStatus, now, read_info_file
from rnnbench.suite.file import Settings

UNLIKE = 75  # exit code if the node is unlike that of the run's first job
NODE = "node"  # key of a part's environment: where its last job was
MISSED = "groups missed"  # key of a part's environment: how many groups are less precise than requested
MACHINE = "machine.json"  # describes the node of the first job


def measure_part(folder: str, part: str, root: str) -> None:
    """Measure the rest of a part; `root` is the folder that files of a user's own cells are relative to.

    The job's exit code is 0 if nothing is left to do, UNLIKE on an unlike node, and 1 otherwise, with the reason in the
    last line of standard error. SIGTERM and SIGUSR2 end it at once; what was measured stays.
    """
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.default_int_handler)
    try:
        _measure(Path(folder), part, Path(root))
    except (KeyboardInterrupt, Interrupted, UserError) as fault:
        sys.exit(str(fault) or "a signal ended this job")


def is_finished(path: Path, part: str, settings: dict[str, Any]) -> bool:
    """Return whether a part was measured to its end with these settings."""
    if not (path / f"run-{part}.json").exists():
        return False
    info = read_info(path, part)
    return info.status == "finished" and info.resolved["measure"] == settings


def unlike_the_first(path: Path, here: RunInfo) -> str:
    """Return how this node differs from that of the run's first job; empty if it does not, or for the first job."""
    temporary = path / f"{MACHINE}.{secrets.token_hex(4)}"
    temporary.write_bytes(info_bytes(here))
    try:
        os.link(temporary, path / MACHINE)  # in one step, since several jobs may be first
    except FileExistsError:
        first = read_info_file(path / MACHINE)
        return "; ".join(differences(first, here))
    finally:
        temporary.unlink()
    return ""


def _measure(path: Path, part: str, root: Path) -> None:
    """Measure the rest of a part, as `measure_part` does, without the exit codes of errors."""
    info = read_info(path)
    with closing(RunFolder(path, part)) as folder:  # locked before it is read
        earlier = read_earlier_run(path, part)
        settings = Settings(**info.resolved["measure"])
        core_count = int(os.environ.get("SLURM_CPUS_ON_NODE", "0"))
        unbound = "Slurm bound no job to its cores (TaskPlugin), so others of the node may have run on them"
        with started(earlier.groups, settings) as start:
            job_info = replace(
                info,
                resolved={"measure": info.resolved["measure"]},
                started=now(),
                environment=environment.describe(root) | {"worker": start.software},
                notes=[Note(unbound)] if 0 < core_count < len(allowed_cores()) else [],
            )
            if unlike := unlike_the_first(path, job_info):
                print(unlike, file=sys.stderr)
                sys.exit(UNLIKE)
            runner = Runner(earlier.groups, settings, start, folder, root=root, earlier=earlier)

            def at_end(status: RunStatus) -> RunInfo:
                seconds = runner.planner.seconds_needed()
                missed = len(runner.planner.missed())
                run_info = ended(job_info, runner, status)
                return replace(
                    run_info,
                    environment=run_info.environment | {MISSED: missed, NODE: os.environ.get("SLURMD_NODENAME")},
                    seconds_needed=None if seconds is None else runner.seconds + seconds,
                )

            with faults_in_words(folder.path, RESUMABLE), recorded(folder, job_info, at_end):
                runner.run()

"""The cards of one machine as a queue: each runs one job at a time, on cores of its own, and sees no other card.

It stands in Slurm's place in a run whose parts are measured by jobs, and has the same functions as `queue`.
"""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT
from rnnbench.harness.devices import nvml
from rnnbench.harness.machine.cores import divided_cores
from rnnbench.slurm.queue import Busy, JobState, SlurmFault
from rnnbench.store.metrics import Unavailable
from rnnbench.suite.file import Settings
from rnnbench.text import plural

JOB_END_SECONDS = 60.0  # in which a job that is told to end stores what it has
COORDINATOR_CORES = 1  # of a job, beside those of its cases


class Cards:
    """The cards that CUDA shows to this process."""

    key = "cards"
    title = "this machine"
    place = "card"

    def __init__(self, start: Callable[..., "subprocess.Popen[bytes]"] = subprocess.Popen) -> None:
        self._start = start
        self._uuids: list[str] = []  # with their prefixes, as CUDA_VISIBLE_DEVICES takes them
        self._cores: dict[str, list[int]] = {}  # of each card's jobs
        self._jobs: list[tuple[str, str, subprocess.Popen[bytes]]] = []  # name, card, process; a number is a place here

    def __len__(self) -> int:
        """Return the number of cards, once `require` has found them."""
        return len(self._uuids)

    def require(self) -> None:
        """Find the cards, and divide the cores of this process among them; raises UserError if there are no cards."""
        try:
            cards = nvml.visible()
            self._uuids = [str(card.ask("nvmlDeviceGetUUID")) for card in cards]
        except Unavailable as reason:
            raise UserError(f"the cards of this machine are not known ({reason})") from None
        if not cards:
            raise UserError("CUDA shows no card to this process")
        self._cores = dict(zip(self._uuids, divided_cores([_near(card) for card in cards]), strict=True))

    def parse(self, options: Sequence[str]) -> dict[str, str]:
        """Return how many jobs may run at once; there are no other options."""
        return {"array_parallelism": str(len(self))}

    def share(self, groups: int) -> int:
        """Return how many of so many groups a job measures, so that each card has one job."""
        return math.ceil(groups / len(self))

    def job_parameters(self, cards: int, cores: int, settings: Settings, options: Mapping[str, str]) -> dict[str, Any]:
        """Return the parameters of jobs whose cases use so many cores; raises UserError if a job has fewer."""
        least = min(map(len, self._cores.values()))
        core_count = cores + COORDINATOR_CORES
        if not cards:
            raise UserError(
                "no case of this run uses a card, so it needs no jobs on cards; choose a device such as cuda"
            )
        if least < core_count:
            raise UserError(
                f"each job needs {plural(core_count, 'core')}, and {plural(len(self), 'card')} share too "
                f"few: {least} for one of them; show fewer cards by CUDA_VISIBLE_DEVICES, or allow more cores"
            )
        return {"additional_parameters": {}}

    def submit(
        self, folder: Path, name: str, function: Any, arguments: Sequence[Any], parameters: Mapping[str, Any]
    ) -> str:
        """Start a job that measures a part on a free card, and return its number; `folder` keeps what it prints.

        Raises Busy if no card is free: a job may go on for a moment when its part is measured. Raises SlurmFault if all
        cards are left out.
        """
        left_out = parameters["additional_parameters"].get("exclude", "").split(",")
        fit = [card for card in self._uuids if card not in left_out]
        if not fit:
            raise SlurmFault("no card is left")
        busy = {card for _, card, process in self._jobs if process.poll() is None}
        free = [card for card in fit if card not in busy]
        if not free:
            raise Busy("no card is free")
        card = free[0]
        number = len(self._jobs)
        folder.mkdir(exist_ok=True)
        # Modules in the folder that a job starts in must not replace Python's own, unless rnnbench is there.
        safe_path = {} if Path.cwd() == PACKAGE_PARENT else {"PYTHONSAFEPATH": "1"}
        cores = ",".join(map(str, self._cores[card]))
        command = [sys.executable, "-m", function.__module__, *map(str, arguments), card, cores]
        with (folder / f"{number}_0_log.out").open("wb") as out, (folder / f"{number}_0_log.err").open("wb") as errors:
            process = self._start(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env=os.environ | safe_path | {"CUDA_VISIBLE_DEVICES": card},
                start_new_session=True,  # this process handles Ctrl-C
            )
        self._jobs.append((name, card, process))
        return str(number)

    def states(self, run: str) -> list[JobState]:
        """Return the states of all jobs, in Slurm's words."""
        return [
            JobState(str(number), name, *_state(process.poll()), card)
            for number, (name, card, process) in enumerate(self._jobs)
        ]

    def cancel(self, run: str) -> None:
        """Tell all jobs to end, and wait for them; kill those that do not end in time."""
        for _, _, process in self._jobs:
            process.terminate()  # does nothing to one that has ended
        self.close()

    def close(self) -> None:
        """Wait until all jobs have ended, after their files are complete; kill those that do not end in time."""
        end = time.monotonic() + JOB_END_SECONDS
        for _, _, process in self._jobs:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _near(card: nvml.Gpu) -> list[int]:
    """Return the cores that are nearest to a card; empty if they are not known."""
    try:
        return nvml.near_cores(card)
    except Unavailable:
        return []


def _state(code: int | None) -> tuple[str, str]:
    """Return the state of a job, and its exit code and signal, from the exit code of its process."""
    if code is None:
        return "RUNNING", "0:0"
    if code < 0:
        return "FAILED", f"0:{-code}"
    return ("FAILED" if code else "COMPLETED"), f"{code}:0"

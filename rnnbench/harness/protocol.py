"""The messages between the coordinator and its workers: requests and replies, one JSON object per line.

A worker's first line describes the worker (`rnnbench.harness.worker.operations.hello`). Then each request gets one
reply. Its `ok` says whether the request was fulfilled; if not, it has a `status` (`skipped` or `failed`), a `reason`,
and after an error the kind of `failure`. The functions below say what else a reply has. The worker ends when its input
ends.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rnnbench.analysis.instructions import CounterName
from rnnbench.harness.turns.schedule import Turns
from rnnbench.store.records import Case, DType

PROTOCOL_VERSION = 12
NO_RANDOMIZATION = 0x0040000  # ADDR_NO_RANDOMIZE of personality(2), for pairs of workers

Request = dict[str, Any]
Reply = dict[str, Any]


@dataclass(frozen=True)
class Building:
    """The information that a worker needs to build the cases of a suite."""

    root: str  # paths of a user's own cells are relative to this folder
    compiled_steps: int

    def observe(self, case: Case) -> Request:
        """Observe all metrics of a case except its time.

        `measurement`: the fields of `rnnbench.store.records.Measurement`. This reply, and those of `reach` and
        `release`, have the files that were used since they were last told: `imported` (module -> file) and `opened`.
        """
        return self._of("observe", case)

    def imports(self, cells: Sequence[str], tree: str) -> Request:
        """Import users' cells before any case, so that what their import changes holds for all of them."""
        return {"op": "import", "cells": cells, "root": self.root, "tree": tree}

    def reach(self, case: Case, tree: str) -> Request:
        """Find the code below the folder `tree` that a case may run.

        `code`: parts of the tree's files, each with a digest; `doubts`: why this may not be all of it.
        """
        return self._of("reach", case, tree=tree)

    def energy(self, case: Case, window_seconds: float) -> Request:
        """Measure the energy of one call: `values` by the name of the metric, or why they are `missing`."""
        return self._of("energy", case, window_seconds=window_seconds)

    def count(self, case: Case, counter: CounterName) -> Request:
        """Count the instructions of one call; `totals`: of each round, 0 for callgrind, which writes into files."""
        return self._of("count", case, counter=counter)

    def profile(self, case: Case, folder: str, window_seconds: float, seconds: float | None = None) -> Request:
        """Find out where the time of a case goes, in about so many `seconds`; `folder`: for its trace.

        `profile`: the fields of `rnnbench.store.profiles.Profile`.
        """
        return self._of("profile", case, folder=folder, window_seconds=window_seconds, seconds=seconds)

    def prepare(self, case: Case, window_seconds: float, known: float | None) -> Request:
        """Prepare a case for timing; the worker calibrates it unless the seconds of a call are `known`.

        `call_seconds`: of the fastest call so far; `wall_seconds`: the same with the flush of the caches that comes
        before each call of a cold case; `warmup_windows`.
        """
        return self._of("prepare", case, window_seconds=window_seconds, call_seconds=known)

    def verify(self, case: Case) -> Request:
        """Compare a case that has been timed with its reference again."""
        return self._of("verify", case)

    def _of(self, op: str, case: Case, **fields: Any) -> Request:
        return {"op": op, "case": case.axes(), "root": self.root, "compiled_steps": self.compiled_steps, **fields}


def device(name: str) -> Request:
    """Ask whether a device can be used, and which one it is.

    `reason`: why it can't be used, and `no_energy`: why its energy can't be measured; both are empty if it can. `name`:
    its model, and `uuid`: the driver's identifier; empty and None for the processor.
    """
    return {"op": "device", "device": name}


def ceiling(device: str, dtype: DType, threads: int, folder: str, *, passes: int = 1, again: bool = False) -> Request:
    """Measure the best rates of the machine; `folder` keeps the kernels that are built for it.

    `passes` that are apart in time show the spread of each rate. `again`: only those that a processor may have raised
    since they were first measured. `ceiling`: as `rnnbench.store.ceilings.Ceiling.to_json` returns it; `no_kernels`:
    why the processor's own limits are not in it.
    """
    place = {"device": device, "dtype": dtype, "threads": threads}
    return {"op": "ceiling", **place, "folder": folder, "passes": passes, "again": again}


def visit(
    cases: Sequence[Case], plans: Sequence[Turns], order: Sequence[tuple[str, int]], side: str, seconds: float
) -> Request:
    """Take all turns of a visit.

    `plans` has the turns of each case, `order` the side and the number of the case of each turn: the worker takes those
    of its own `side`, and waits for the other side's worker in between. `seconds`: expected, of all turns. `windows`:
    for each case, fields of `rnnbench.store.records.Window`, and `printed`.
    """
    of_cases = {"cases": [case.key for case in cases], "plans": [asdict(plan) for plan in plans]}
    return {"op": "visit", **of_cases, "order": order, "side": side, "seconds": seconds}


def release() -> Request:
    """Forget the prepared cases."""
    return {"op": "release"}

"""The messages between the coordinator and its workers: requests and replies, one JSON object per line.

A worker's first line describes the worker (`rnnbench.harness.worker.answers.hello`). Then each request gets one
reply. Its `ok` says whether the request was fulfilled; if not, it has a `status` (`skipped` or `failed`), a `reason`,
and after an error the kind of `failure`. If that is `loading`, it also has the files that the error `arose_in`, the
modules that it `lacks`, and whether a module or a name was not found, `is_lack`. The functions below say what else a
reply has. The worker ends when its input ends.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rnnbench.harness.turns.schedule import Turns
from rnnbench.store.records import Case, DType

PROTOCOL_VERSION = 14
NO_RANDOMIZATION = 0x0040000  # ADDR_NO_RANDOMIZE of personality(2), for pairs of workers

Request = dict[str, Any]
Reply = dict[str, Any]
OperationOfCase = Literal["check", "probe", "observe", "reach", "energy", "count", "profile", "prepare", "verify"]
OperationName = Literal[OperationOfCase, "device", "ceiling", "import", "visit", "release"]


@dataclass(frozen=True, order=True)
class Doubt:
    """Why a case may not run the same code on both sides of a check: a clause for people, and its kind.

    `changed`: what it runs or reads has changed. `unknown`: nobody could be asked. The others are told by workers, and
    count if a file of their kind has changed. `code`: it may run any Python code of the tree. `text`: it reads the text
    of its code, such as docstrings. `path`: it opens files of the tree by their paths, so that a document may be data.
    `guard`: as far as is known it runs the same code, but it failed or looked changed in a pair of workers.
    """

    kind: Literal["changed", "unknown", "code", "text", "path", "guard"]
    clause: str


@dataclass(frozen=True)
class Building:
    """The information that a worker needs to build the cases of a suite."""

    root: str  # paths of a user's own cells are relative to this folder
    compiled_steps: int

    def request(self, op: OperationOfCase, case: Case, **fields: Any) -> Request:
        """Ask a worker to build a case, and to do one of these with it.

        `observe`: all metrics of the case except its time; `measurement`: the fields of
            `rnnbench.store.records.Measurement`. `check` and `probe` do this in two parts: `check` compares the case
            with its reference, and `probe` returns the `values` of the other metrics by name, the name of the `backend`
            among them, and why some are `missing`. These replies, and those of `reach` and `release`, have the files
            that were used since they were last told: `imported` (module -> file), `opened`, and of these `read`, which
            were not opened by an import alone; also `written`, those that were ever opened to write, the `libraries`
            that were loaded, and the paths `missed`, which were asked for and not found (-> whether by a case).
        `reach`, with the folder `tree`: the code below it that the case may run; `code`: parts of the tree's files,
            each with a digest; `doubts`: the fields of each `Doubt`, why this may not be all of it.
        `energy`, with `window_seconds`: that of one call; `values` by the name of the metric, or why they are
            `missing`.
        `count`, with `counter`, and with `vgdb_prefix`, by which callgrind is switched: the instructions of one call;
            `totals`: of each round, 0 for callgrind, which writes into files.
        `profile`, with `folder` (for its trace), `window_seconds`, and `seconds` or None: where the time of the case
            goes, in about so many seconds; `profile`: the fields of `rnnbench.store.profiles.Profile`.
        `prepare`, with `window_seconds`: get ready for timing; the worker calibrates the case unless `call_seconds` is
            known. `call_seconds`: of the fastest call so far; `wall_seconds`: the same with the flush of the caches
            that comes before each call of a cold case; `warmup_windows`; `built_by`: the call that built a user's own
            class; `sets`: the settings of torch that the case's own code has set, which hold for it alone, and
            `overruled`, those that the suite decides all the same.
        `verify`: compare the case, which has been timed, with its reference again.
        """
        return {"op": op, "case": case.axes(), **asdict(self), **fields}

    def imports(self, cells: Sequence[str], tree: str) -> Request:
        """Import users' cells before any case, so that what their import changes holds for all of them.

        `unimportable`: the first that can't be imported, or empty. The worker must be ended then.
        """
        return {"op": "import", "cells": cells, "root": self.root, "tree": tree}


def device(name: str) -> Request:
    """Ask whether a device can be used, and which one it is.

    `reason`: why it can't be used, and `no_energy`: why its energy can't be measured; both are empty if it can. `name`:
    its model, and `uuid`: the driver's identifier; empty and None for the processor.
    """
    return {"op": "device", "device": name}


def ceiling(
    device: str,
    dtype: DType,
    threads: int,
    folder: str,
    *,
    passes: int = 1,
    again: bool = False,
    best_pulse: float | None = None,
) -> Request:
    """Measure the best rates of the machine; `folder` keeps the kernels that are built for it.

    `passes` that are apart in time show the spread of each rate. `again`: only those that a processor may have raised
    since they were first measured. `ceiling`: as `rnnbench.store.ceilings.Ceiling.to_json` returns it; `no_kernels`:
    why the processor's own limits are not in it; `quiet_share`: of the pulses before and after it, compared with the
    `best_pulse` as far as it is known, or None where pulses can't tell.
    """
    place = {"device": device, "dtype": dtype, "threads": threads}
    return {"op": "ceiling", **place, "folder": folder, "passes": passes, "again": again, "best_pulse": best_pulse}


def visit(
    cases: Sequence[Case],
    plans: Sequence[Turns],
    order: Sequence[tuple[str, int]],
    side: str,
    seconds: float,
    best_pulse: float | None = None,
    preheat_seconds: float = 0.0,
    *,
    least_turns: int = 0,
    choices: Sequence[Sequence[int]] = (),
) -> Request:
    """Take all turns of a visit.

    `plans` has the turns of each case, `order` the side and the number of the case of each turn: the worker takes those
    of its own `side`, and waits for the other side's worker in between. `seconds`: expected, of all turns.
    `preheat_seconds`: for how long the worker whose turn comes first makes the calls before them. `best_pulse`: of the
    machine, as far as it is known; the reply has a better one if the worker took it. `windows`:
    for each case, fields of `rnnbench.store.records.Window`, and `printed`.

    With `choices`, which are sets of equal cores, there is no other side: the worker moves to the cores that are quiet
    most often, and ends the visit when each case has taken `least_turns` and has enough quiet blocks.
    """
    of_cases = {"cases": [case.key for case in cases], "plans": [asdict(plan) for plan in plans]}
    turns = {"order": order, "side": side, "seconds": seconds, "preheat_seconds": preheat_seconds}
    alone = {"least_turns": least_turns, "choices": choices}
    return {"op": "visit", **of_cases, **turns, **alone, "best_pulse": best_pulse}


def release() -> Request:
    """Forget the prepared cases."""
    return {"op": "release"}

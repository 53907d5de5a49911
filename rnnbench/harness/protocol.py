"""The messages between the coordinator and its workers: requests and replies, one JSON object per line.

A worker's first line describes the worker (`rnnbench.harness.worker.operations.hello`). Then each request gets one
reply, which repeats the request's `id` and has the type that the request names, or is a `FailedReply`. The worker ends
when its input ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar

from rnnbench.analysis.instructions import CounterName
from rnnbench.harness.turns.schedule import Turns
from rnnbench.store.records import Case, DType, Failure

PROTOCOL_VERSION = 11
NO_RANDOMIZATION = 0x0040000  # ADDR_NO_RANDOMIZE of personality(2), for pairs of workers


class UsedFiles(TypedDict):
    """The files that were used since they were last told, in replies to `observe` and `release`."""

    imported: NotRequired[dict[str, str]]  # module -> its file
    opened: NotRequired[list[str]]


class FailedReply(UsedFiles):
    """The reply to a request that could not be fulfilled, with the status of its case and the reason."""

    ok: Literal[False]
    status: Literal["skipped", "failed"]
    reason: str
    failure: NotRequired[Failure]


class FineReply(UsedFiles):
    """The fields of every other reply."""

    ok: Literal[True]


class DeviceReply(FineReply):
    """Whether a device can be used, and which one it is."""

    reason: str  # why it can't be used; empty if it can be used
    no_energy: str  # why its energy can't be measured; empty if it can be measured
    name: str  # its model; empty for the processor
    uuid: str | None  # the driver's identifier; None for the processor


class CeilingReply(FineReply):
    """The best rates of the machine."""

    ceiling: dict[str, Any]  # in the form of `rnnbench.store.ceilings.Ceiling.to_json`
    no_kernels: str  # why the processor's own limits are not in it; empty if they are


class ObserveReply(FineReply):
    """All metrics of a case except its time."""

    measurement: dict[str, Any]  # the fields of `rnnbench.store.records.Measurement`


class ReachReply(FineReply):
    """The code that a case may run."""

    code: list[str]  # definitions of the tree, each with a digest
    doubts: list[str]  # why this may not be all of it
    may_import: bool  # whether a later call may import any module of the tree


class EnergyReply(FineReply):
    """The energy of a call, by metric name."""

    values: dict[str, float]
    missing: dict[str, str]  # name -> reason


class CountReply(FineReply):
    """The instructions of a call in each round; callgrind writes them into files, and they are 0 here."""

    totals: list[int]


class ProfileReply(FineReply):
    """Where the time of a call goes."""

    profile: dict[str, Any]  # the fields of `rnnbench.store.profiles.Profile`


class PrepareReply(FineReply):
    """A case is ready to be timed."""

    call_seconds: float  # of the fastest call so far
    wall_seconds: float  # the same with the flush of the caches that comes before each call of a cold case
    warmup_windows: int


class VisitReply(FineReply):
    """The turns of each case in a visit."""

    windows: list[dict[str, Any]]  # for each case, fields of `rnnbench.store.records.Window`, and `printed`


Reply = TypeVar("Reply", bound=FineReply)


@dataclass(frozen=True)
class Request(Generic[Reply]):
    """A request; `Reply` is the type of a successful reply."""

    content: Mapping[str, Any]
    reply: type[Reply]

    @property
    def implementation(self) -> str | None:
        """The implementation of the case that the worker builds for this request; None if it builds none."""
        case = self.content.get("case")
        return case["implementation"] if isinstance(case, dict) else None


@dataclass(frozen=True)
class Building:
    """The information that a worker needs to build the cases of a suite."""

    root: str  # paths of a user's own cells are relative to this folder
    compiled_steps: int

    def observe(self, case: Case) -> Request[ObserveReply]:
        """Observe all metrics of a case except its time."""
        return Request({"op": "observe", **self._of(case)}, ObserveReply)

    def imports(self, cells: Sequence[str], tree: str) -> Request[FineReply]:
        """Import users' cells before any case, so that what their import changes holds for all of them."""
        return Request({"op": "import", "cells": cells, "root": self.root, "tree": tree}, FineReply)

    def reach(self, case: Case, tree: str) -> Request[ReachReply]:
        """Find the code below the folder `tree` that a case may run."""
        return Request({"op": "reach", **self._of(case), "tree": tree}, ReachReply)

    def energy(self, case: Case, window_seconds: float) -> Request[EnergyReply]:
        """Measure the energy of one call of a case."""
        return Request({"op": "energy", **self._of(case), "window_seconds": window_seconds}, EnergyReply)

    def count(self, case: Case, counter: CounterName) -> Request[CountReply]:
        """Count the instructions of one call of a case."""
        return Request({"op": "count", **self._of(case), "counter": counter}, CountReply)

    def profile(
        self, case: Case, folder: str, window_seconds: float, seconds: float | None = None
    ) -> Request[ProfileReply]:
        """Find out where the time of a case goes, in about so many `seconds`; `folder`: for its trace."""
        limits = {"window_seconds": window_seconds, "seconds": seconds}
        return Request({"op": "profile", **self._of(case), "folder": folder, **limits}, ProfileReply)

    def prepare(self, case: Case, window_seconds: float, known: float | None) -> Request[PrepareReply]:
        """Prepare a case for timing; the worker calibrates it unless the seconds of a call are `known`."""
        timing = {"window_seconds": window_seconds, "call_seconds": known}
        return Request({"op": "prepare", **self._of(case), **timing}, PrepareReply)

    def verify(self, case: Case, *, repeats: bool) -> Request[FineReply]:
        """Compare a case that has been timed with its reference again.

        `repeats`: also compare the work of a call with that of a second call on the same values.
        """
        return Request({"op": "verify", **self._of(case), "repeats": repeats}, FineReply)

    def _of(self, case: Case) -> dict[str, Any]:
        return {"case": case.axes(), "root": self.root, "compiled_steps": self.compiled_steps}


def device(name: str) -> Request[DeviceReply]:
    """Ask whether a device can be used, and which one it is."""
    return Request({"op": "device", "device": name}, DeviceReply)


def ceiling(
    device: str, dtype: DType, threads: int, folder: str, *, passes: int = 1, again: bool = False
) -> Request[CeilingReply]:
    """Measure the best rates of the machine; `folder` keeps the kernels that are built for it.

    `passes` that are apart in time show the spread of each rate. `again`: only those that a processor may have raised
    since they were first measured.
    """
    where = {"device": device, "dtype": dtype, "threads": threads}
    return Request({"op": "ceiling", **where, "folder": folder, "passes": passes, "again": again}, CeilingReply)


def visit(
    cases: Sequence[Case], plans: Sequence[Turns], order: Sequence[tuple[str, int]], side: str, seconds: float
) -> Request[VisitReply]:
    """Take all turns of a visit.

    `plans` has the turns of each case, `order` the side and the number of the case of each turn: the worker takes those
    of its own `side`, and waits for the other side's worker in between. `seconds`: expected, of all turns.
    """
    fields = [asdict(plan) for plan in plans]
    content = {"cases": [case.key for case in cases], "plans": fields, "order": order, "side": side, "seconds": seconds}
    return Request({"op": "visit", **content}, VisitReply)


def release() -> Request[FineReply]:
    """Forget the prepared cases."""
    return Request({"op": "release"}, FineReply)

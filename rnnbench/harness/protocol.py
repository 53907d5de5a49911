"""What the coordinator and its workers say to each other: requests and replies, JSON objects on a line each.

A worker's first line says what it is (`rnnbench.harness.worker.operations.hello`). Then each request gets one reply,
which repeats the request's `id`: of the type that the request names, or a `FailedReply`. The worker ends when its input
does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar

from rnnbench.store.records import Case, DType, Failure

PROTOCOL_VERSION = 5
NO_RANDOMIZATION = 0x0040000  # ADDR_NO_RANDOMIZE of personality(2), for pairs of workers


class FailedReply(TypedDict):
    """The reply to any request that could not be met; for a case, its status and the reason."""

    ok: Literal[False]
    status: Literal["skipped", "failed"]
    reason: str
    failure: NotRequired[Failure]
    imported: NotRequired[dict[str, str]]


class FineReply(TypedDict):
    """What every other reply has."""

    ok: Literal[True]


class DeviceReply(FineReply):
    """What there is of a device."""

    reason: str  # why it can't be used; empty where it can
    no_energy: str  # why its energy can't be measured; empty where it can
    cards: list[dict[str, Any]]  # the fields of `rnnbench.harness.devices.Card`


class CeilingReply(FineReply):
    """The best that the machine can do."""

    ceiling: dict[str, Any]  # the fields of `rnnbench.store.ceilings.Ceiling`


class ObserveReply(FineReply):
    """Everything about a case beside its time."""

    measurement: dict[str, Any]  # the fields of `rnnbench.store.records.Measurement`
    imported: NotRequired[dict[str, str]]  # module -> its file, of those that were imported since the last reply


class EnergyReply(FineReply):
    """Energy of a call, by the names of metrics."""

    values: dict[str, float]
    missing: dict[str, str]  # name -> reason


class ProfileReply(FineReply):
    """Where a call's time goes."""

    profile: dict[str, Any]  # the fields of `rnnbench.store.profiles.Profile`


class PlanFields(TypedDict):
    """The fields of `rnnbench.harness.turns.engine.Plan`."""

    batches: int
    batch: int
    seconds: float
    cold: bool


class PrepareReply(FineReply):
    """A case is ready to be timed."""

    plan: PlanFields
    warmup_windows: int


class WindowReply(FineReply):
    """One window; the fields are those of `rnnbench.store.records.Window`."""

    calls: int
    batch: int
    seconds: float
    host_seconds: float
    submit_seconds: float
    quantiles: list[float]
    cores: list[int]
    clock_mhz: float | None
    device_uuid: str | None
    printed: bool  # whether the case has printed in it


Reply = TypeVar("Reply", bound=FineReply)


@dataclass(frozen=True)
class Request(Generic[Reply]):
    """A request; `Reply` is the type of what a worker replies if it can."""

    content: Mapping[str, Any]

    @property
    def implementation(self) -> str | None:
        """That of the case which the request has the worker build, if it does."""
        case = self.content.get("case")
        return case["implementation"] if isinstance(case, dict) else None


@dataclass(frozen=True)
class Building:
    """What a worker must know to build the cases of a suite."""

    root: str  # the folder that files of a user's own cells are relative to
    compiled_steps: int

    def observe(self, case: Case) -> Request[ObserveReply]:
        """Observe everything about a case beside its time."""
        return Request({"op": "observe", **self._of(case)})

    def energy(self, case: Case, window_seconds: float) -> Request[EnergyReply]:
        """Measure the energy of a case's call."""
        return Request({"op": "energy", **self._of(case), "window_seconds": window_seconds})

    def profile(self, case: Case, folder: str) -> Request[ProfileReply]:
        """Find out where a case's time goes; traces and stacks are written into `folder`."""
        return Request({"op": "profile", **self._of(case), "folder": folder})

    def prepare(
        self, case: Case, window_seconds: float, plan: PlanFields | None, *, cold_cache: bool
    ) -> Request[PrepareReply]:
        """Make a case ready to be timed, calibrated unless a plan is given."""
        timing = {"window_seconds": window_seconds, "cold_cache": cold_cache, "plan": plan}
        return Request({"op": "prepare", **self._of(case), **timing})

    def _of(self, case: Case) -> dict[str, Any]:
        return {"case": case.axes(), "root": self.root, "compiled_steps": self.compiled_steps}


def device(name: str) -> Request[DeviceReply]:
    """Say whether a device can be used, and what there is of it."""
    return Request({"op": "device", "device": name})


def ceiling(device: str, dtype: DType, threads: int) -> Request[CeilingReply]:
    """Measure the best that the machine can do."""
    return Request({"op": "ceiling", "device": device, "dtype": dtype, "threads": threads})


def window(case: Case, plan: PlanFields) -> Request[WindowReply]:
    """Take one window of a case that is ready."""
    return Request({"op": "window", "case": case.key, "plan": plan})


def release() -> Request[FineReply]:
    """Forget the cases that are ready."""
    return Request({"op": "release"})

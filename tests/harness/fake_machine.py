"""A machine with several GPUs and workers on them, which notices when a card is asked for two things at once."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.store.records import Group
from tests import workload as small
from tests.harness.fakes import FakeClock, FakeWorker

A, B = "aaaa", "bbbb"
Watch = Callable[["OnMachine", dict[str, Any]], None]


def gpu_groups(count: int, device: str = "cuda") -> list[Group]:
    """Groups of a hand-written cell and its reference; the larger the batch, the later in the list."""
    return [
        Group(
            small.workload(batch_size=size, device=device),
            (
                small.case("vanilla", batch_size=size, device=device),
                small.reference_case(batch_size=size, device=device),
            ),
        )
        for size in range(1, count + 1)
    ]


class Machine:
    """Cards by UUID with their models, in the driver's order."""

    def __init__(self, cards: Mapping[str, str], watch: Watch = lambda worker, message: None) -> None:
        self.cards = dict(cards)
        self.watch = watch
        self.clock = FakeClock()
        self.workers: list[OnMachine] = []
        self.asked: list[tuple[str, str, str]] = []  # (card or cpu, operation, worker), as they came
        self.overlaps: list[str] = []
        self._busy: Counter[str] = Counter()
        self._lock = threading.Lock()

    def start(self, name: str, variables: Mapping[str, str] | None = None) -> Any:
        """A worker that sees the cards that its environment leaves it."""
        only = (variables or {}).get("CUDA_VISIBLE_DEVICES")
        seen = [uuid for uuid in self.cards if only in (None, f"GPU-{uuid}")]
        self.workers.append(OnMachine(name, self, seen))
        return self.workers[-1]

    def begin(self, place: str, op: str, worker: str) -> None:
        """A request begins; two on one card, or anything beside a timed processor, are noted."""
        with self._lock:
            others = [other for other, count in self._busy.items() if count]
            if place in others or (op == "window" and "cpu" in (place, *others) and others):
                self.overlaps.append(f"{op} on {place} beside {others}")
            self._busy[place] += 1
            self.asked.append((place, op, worker))

    def end(self, place: str) -> None:
        """A request ends."""
        with self._lock:
            self._busy[place] -= 1

    def at_once(self) -> Sequence[str]:
        """The cards that are busy."""
        with self._lock:
            return [place for place, count in self._busy.items() if count]


class OnMachine(FakeWorker):
    """A worker that takes real time for each request, so that threads can meet."""

    def __init__(self, name: str, machine: Machine, seen: Sequence[str]) -> None:
        super().__init__(name, machine.clock, lambda message: None, lambda key: 0.01)
        self.machine = machine
        self.seen = seen
        self.pinned: list[tuple[int, ...]] = []
        self.killed = threading.Event()

    def pin(self, cores: Sequence[int]) -> None:
        self.pinned.append(tuple(cores))

    def kill(self) -> None:
        self.killed.set()

    def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        if message["op"] == "device":
            return {"ok": True, **self._device(message["device"])}
        place = self._place(message)
        if place is None:
            return super().request(message, deadline_seconds)
        self.machine.begin(place, message["op"], self.name)
        try:
            self.machine.watch(self, message)
            time.sleep(0.0005)
            if self.killed.is_set():
                raise WorkerLost("the worker was killed by SIGKILL")
            if message["op"] == "energy":
                return {"ok": True, "values": {"energy_joules": 0.5}, "missing": {}}
            reply = super().request(message, deadline_seconds)
            return reply | {"device_uuid": None if place == "cpu" else place}
        finally:
            self.machine.end(place)

    def _device(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = {"reason": "", "no_energy": ""}
        if name == "cpu":
            return told | {"cards": [{"name": "", "uuid": None, "variables": {}}]}
        uuids = self.seen if name == "cuda" else [self.seen[int(name.removeprefix("cuda:"))]]
        alone = len(uuids) == 1
        cards = [
            {
                "name": self.machine.cards[uuid],
                "uuid": uuid,
                "variables": {} if alone else {"CUDA_VISIBLE_DEVICES": f"GPU-{uuid}"},
            }
            for uuid in uuids
        ]
        return told | {"cards": cards}

    def _place(self, message: dict[str, Any]) -> str | None:
        """The card that a request is for, as CUDA would choose it."""
        case = message.get("case", "")
        name = case["device"] if isinstance(case, dict) else case.partition("device=")[2].partition(" ")[0]
        name = name or message.get("device", "")
        if not name.startswith("cuda"):
            return name or None
        return self.seen[int(name.partition(":")[2] or 0)]

"""A machine with several GPUs and workers, which notices when a card gets two requests at once."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rnnbench.harness.coordinator.process import WorkerLost
from rnnbench.store.records import Group
from tests.doubles import workload as small
from tests.doubles.fakes import FakeClock, FakeWorker

A, B = "aaaa", "bbbb"
Watch = Callable[["OnMachine", dict[str, Any]], None]


def gpu_groups(count: int, device: str = "cuda") -> list[Group]:
    """Groups of a hand-written cell and its reference, in order of batch size."""
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
        self.asked: list[tuple[str, str, str]] = []  # (card or cpu, operation, worker) of each request, in order
        self.overlaps: list[str] = []
        self._busy: Counter[str] = Counter()
        self._lock = threading.Lock()

    def start(self, name: str, variables: Mapping[str, str] | None = None) -> Any:
        """A worker that sees the cards that its environment allows."""
        only = (variables or {}).get("CUDA_VISIBLE_DEVICES")
        visible = [uuid for uuid in self.cards if only in (None, f"GPU-{uuid}")]
        self.workers.append(OnMachine(name, self, visible))
        return self.workers[-1]

    def begin(self, device: str, op: str, worker: str) -> None:
        """Begin a request; note two on one card, and any beside one that is timed on the processor."""
        with self._lock:
            busy = [name for name, count in self._busy.items() if count]
            if device in busy or (op == "window" and "cpu" in (device, *busy) and busy):
                self.overlaps.append(f"{op} on {device} beside {busy}")
            self._busy[device] += 1
            self.asked.append((device, op, worker))

    def end(self, device: str) -> None:
        """End a request."""
        with self._lock:
            self._busy[device] -= 1

    def at_once(self) -> Sequence[str]:
        """The cards that are busy now."""
        with self._lock:
            return [device for device, count in self._busy.items() if count]


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
        device = self._place(message)
        if device is None:
            return super().request(message, deadline_seconds)
        self.machine.begin(device, message["op"], self.name)
        try:
            self.machine.watch(self, message)
            time.sleep(0.0005)
            if self.killed.is_set():
                raise WorkerLost("the worker was killed by SIGKILL")
            if message["op"] == "energy":
                return {"ok": True, "values": {"energy_joules": 0.5}, "missing": {}}
            reply = super().request(message, deadline_seconds)
            return reply | {"device_uuid": None if device == "cpu" else device}
        finally:
            self.machine.end(device)

    def _device(self, name: str) -> dict[str, Any]:
        reply: dict[str, Any] = {"reason": "", "no_energy": ""}
        if name == "cpu":
            return reply | {"cards": [{"name": "", "uuid": None, "variables": {}}]}
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
        return reply | {"cards": cards}

    def _place(self, message: dict[str, Any]) -> str | None:
        """The card of a request, as CUDA would choose it."""
        case = message.get("case", "")
        name = case["device"] if isinstance(case, dict) else case.partition("device=")[2].partition(" ")[0]
        name = name or message.get("device", "")
        if not name.startswith("cuda"):
            return name or None
        return self.seen[int(name.partition(":")[2] or 0)]

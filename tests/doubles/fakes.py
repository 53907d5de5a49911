"""A device and workers on a clock that the test controls."""

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rnnbench.harness.coordinator.process import USUAL_START, WorkerStart, lost
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.coordinator.start import started
from rnnbench.harness.devices import Cpu
from rnnbench.harness.protocol import PROTOCOL_VERSION
from rnnbench.harness.turns.schedule import ENOUGH_QUIET_BLOCKS
from rnnbench.store.folder import RunFolder
from rnnbench.store.parity import AGREES
from rnnbench.store.records import Case, Group, Measurement
from rnnbench.suite.file import Settings
from tests.doubles.stored import INFO
from tests.doubles.stored import ceiling as made_up_ceiling


class FakeClock:
    """Time that passes only when a call spends it, and a little at each reading."""

    def __init__(self, look_seconds: float = 0.0) -> None:
        self.seconds = 0.0
        self.look_seconds = look_seconds
        self._taking = threading.Condition()
        self._visits: dict[int, tuple[Sequence[Any], list[int]]] = {}  # by the identity of an order of turns

    def __call__(self) -> float:
        self.seconds += self.look_seconds
        return self.seconds

    @contextmanager
    def turn(self, order: Sequence[Any], place: int, is_ended: Callable[[], bool]) -> Iterator[None]:
        """Wait for the workers whose turns come before this place of a visit with this order of turns."""
        with self._taking:
            _, taken = self._visits.setdefault(id(order), (order, [0]))  # kept, so that no other gets its identity
            while taken[0] != place and not is_ended():
                self._taking.wait(0.01)
            yield
            taken[0] = place + 1


def fake_cpu(cost: Callable[[int], float], look_seconds: float = 0.0) -> tuple[Cpu, Callable[[], None]]:
    """A device and a call whose n-th invocation (from 0) takes `cost(n)` seconds."""
    clock = FakeClock(look_seconds)
    calls = iter(range(10**9))

    def call() -> None:
        clock.seconds += cost(next(calls))

    return Cpu(now=clock), call


def fake_cpu_with_cache(cold: float, warm: float, flush_seconds: float) -> tuple[Cpu, Callable[[], None], list[float]]:
    """A device, a call that takes longer after a flush, and the list of the times at which flushes began."""
    clock = FakeClock()
    flushes: list[float] = []
    is_cold = True

    def flush() -> None:
        nonlocal is_cold
        flushes.append(clock.seconds)
        clock.seconds += flush_seconds
        is_cold = True

    def call() -> None:
        nonlocal is_cold
        clock.seconds += cold if is_cold else warm
        is_cold = False

    device = Cpu(now=clock)
    device.flush = flush  # type: ignore[method-assign]
    return device, call, flushes


def noisy(seconds: float, spread: float, seed: int = 0) -> Callable[[int], float]:
    """A cost that is never below `seconds`, because timing noise only adds."""
    rng = random.Random(seed)
    return lambda _: seconds * (1 + spread * rng.expovariate(1))


Fault = Callable[[dict[str, Any]], None]
Edit = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]  # the request and the reply -> another reply
START_SECONDS = 2.0
PROBED: dict[str, Any] = {"ok": True, "values": {"parameters": 7}, "missing": {}}
CARD, JOULES = "H100", 0.5  # the model of each card, and the energy of a call there


class Failing(Exception):
    """Raised by a fault with a reply, which the worker gives, in a case's turn to the whole visit."""


class FakeWorker:
    """Speaks the protocol; every request takes time on the shared clock."""

    cards: Mapping[str, str] = {}  # name of a device, beside the processor -> its uuid

    def __init__(
        self,
        name: str,
        clock: FakeClock,
        fault: Fault,
        seconds: Callable[[str], float],
        edit: Edit = lambda message, reply: reply,
    ) -> None:
        self.name = name
        self.closed = self.is_forked = False
        self.first_reply: dict[str, Any] = {}
        self.turn: int | None = None  # the number of the case that is called in a visit
        self.protocol = PROTOCOL_VERSION
        self._clock = clock
        self._fault = fault
        self._seconds = seconds
        self._edit = edit

    def wait_ready(self) -> dict[str, Any]:
        self._clock.seconds += START_SECONDS
        return {"protocol": self.protocol}

    def pin(self, cores: list[int]) -> None:
        assert cores

    def close(self) -> None:
        self.closed = True

    def kill(self) -> None:
        self.closed = True

    def request(self, message: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        assert not self.closed
        end = self._clock.seconds + deadline_seconds
        try:
            self._fault(message)
        except Failing as failing:
            return dict(failing.args[0])
        reply = self._edit(message, self._answer(message))
        if message["op"] == "observe" and self._clock.seconds > end:
            self._clock.seconds = end
            self.close()
            return lost(f"no answer within {deadline_seconds:g} s")
        return reply

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:  # noqa: PLR0911 - one for each operation
        match message["op"]:
            case "device":
                uuid = self.cards.get(message["device"])
                reason = "" if uuid or message["device"] == "cpu" else "not there"
                no_energy = "" if uuid else "no counter"
                return {
                    "ok": True,
                    "reason": reason,
                    "no_energy": no_energy,
                    "name": CARD if uuid else "",
                    "uuid": uuid,
                }
            case "ceiling":
                self._clock.seconds += 0.0 if message["again"] else 0.1
                place = message["device"], message["dtype"], message["threads"]
                ceiling = made_up_ceiling(*place, 1e9, [(1024, 1e9)], 1e-6, None)
                return {"ok": True, "ceiling": ceiling.to_json(), "no_kernels": ""}
            case "probe":
                return PROBED
            case "check" | "observe":
                metrics: dict[str, Any] = PROBED["values"] if message["op"] == "observe" else {}
                measurement = Measurement(case_of(message), "pending", parity=AGREES, metrics=metrics)
                return {"ok": True, "measurement": measurement.to_json()}
            case "prepare":
                case = Case.from_axes(message["case"])
                self._clock.seconds += 0.01
                seconds = self._seconds(case.key)
                return {"ok": True, "call_seconds": seconds, "wall_seconds": seconds, "warmup_windows": 1}
            case "visit":
                return self._visit(message)
        return {"ok": True, "values": {"energy_joules": JOULES}, "missing": {}}  # of `energy`; others need no more

    def _visit(self, message: dict[str, Any]) -> dict[str, Any]:
        """Take all turns of this side when they come; each is told to `fault` as an operation of its own."""
        taken: list[list[float]] = [[] for _ in message["cases"]]
        for place, (side, number) in enumerate(message["order"]):
            if side != message["side"]:
                continue
            # Without pulses, all blocks count as quiet. A side that is alone ends with whole pairs of rounds.
            has_enough = len(taken[-1]) * message["plans"][-1]["blocks"] >= ENOUGH_QUIET_BLOCKS
            is_pair = place % (2 * len(taken)) == 0
            if message["choices"] and is_pair and has_enough and len(taken[-1]) >= message["least_turns"]:
                break
            with self._clock.turn(message["order"], place, lambda: self.closed):
                if self.closed:
                    return lost("the worker was killed by SIGKILL")
                self.turn = number
                key, calls = message["cases"][number], message["plans"][number]["calls"]
                try:
                    self._fault({"op": "turn", "case": key})
                except Failing as failing:
                    return dict(failing.args[0])
                seconds = self._seconds(key)
                self._clock.seconds += seconds * calls
                taken[number].append(seconds)
                self.turn = None
        windows = [
            self._window(message["cases"][index], seconds[half::2], message["plans"][index]["calls"])
            for index, seconds in enumerate(taken)
            for half in range(2)
        ]
        return {"ok": True, "windows": windows, "best_pulse": None}

    def _window(self, case: str, seconds: Sequence[float], calls: int) -> dict[str, Any]:
        whole = sum(seconds) * calls
        device = case.partition("device=")[2].partition(" ")[0]
        return {
            "case": case,
            "seconds": whole,
            "host_seconds": whole,
            "submit_seconds": whole,
            "quantiles": sorted(seconds),
            "calls": len(seconds) * calls,
            "batch": calls,
            "waits": len(seconds),
            "printed": False,
            "cores": [0],
            "device_uuid": self.cards.get(device),
        }


def case_of(message: dict[str, Any]) -> Case:
    """The case of a request."""
    return Case.from_axes(message["case"])


class FakeWorkers:
    """Starts workers on one clock and keeps them; the test sets what they cost, what goes wrong and what they reply."""

    def __init__(
        self,
        fault: Fault = lambda message: None,
        *,
        seconds: Callable[[str], float] = lambda key: 0.01,
        edit: Edit = lambda message, reply: reply,
        kind: type[FakeWorker] = FakeWorker,
    ) -> None:
        self.clock = FakeClock()
        self.started: list[FakeWorker] = []
        self._new = lambda name: kind(name, self.clock, fault, seconds, edit)

    def __call__(self, name: str = "", _start: WorkerStart = USUAL_START, /) -> Any:
        self.started.append(self._new(name))
        return self.started[-1]

    @property
    def are_closed(self) -> bool:
        """Whether all have been ended."""
        return all(worker.closed for worker in self.started)


def run_into(
    folder: RunFolder,
    groups: Sequence[Group],
    settings: Settings,
    *,
    workers: FakeWorkers | None = None,
    **options: Any,
) -> Runner:
    """Do a whole run as `rnnbench run` does and return its runner; `options` go to the runner, but the seed."""
    doubles: dict[str, Any] = {"start_worker": workers, "now": workers.clock} if workers else {}
    with started(groups, settings, seed=options.pop("seed", None), **doubles) as start:
        runner = Runner(groups, settings, start, folder, root=folder.path.parent, **options)
        folder.write_info(INFO)
        runner.run()
    return runner

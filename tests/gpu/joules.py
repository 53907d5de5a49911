"""Energy per call against mean power times time, for a short call and one longer than a window."""

import time
from collections.abc import Iterator
from statistics import mean
from threading import Event, Thread

import torch

from rnnbench.harness import devices
from rnnbench.harness.devices import nvml
from rnnbench.harness.turns.engine import calibrate, take_window
from rnnbench.harness.worker import energy
from rnnbench.store.readings import Unavailable
from tests.gpu.row import Row

CALL_SECONDS = (1e-3, 30e-3)
SIDE = {True: 256, False: 4096}  # of a square product; key: whether the device is a CPU
COUNTER_SECONDS = 6.0  # a GPU's counter has steps of 0.1 s, which is 2% of this
SAMPLE_SECONDS = 0.02
ALLOWED = 0.05


class Power(Thread):
    """Watts, sampled while the calls run."""

    def __init__(self, gpu: nvml.Gpu) -> None:
        super().__init__(daemon=True)
        self.watts: list[float] = []
        self._gpu = gpu
        self._ended = Event()

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.watts.append(self._gpu.sample().values.get("power_watts", float("nan")))

    def end(self) -> None:
        self._ended.set()
        self.join()


def check(name: str) -> Iterator[Row]:
    """One row for each length of a call; raises Unavailable without an energy counter or a GPU."""
    device = devices.open_device(name)
    meter = device.meter()
    uuid = device.uuid()
    if uuid is None:
        raise Unavailable("power is only sampled on a GPU")
    meter.least_seconds = COUNTER_SECONDS
    left = torch.randn(SIDE[devices.is_shared(name)], SIDE[devices.is_shared(name)], device=name).bfloat16()
    product = torch.empty_like(left)
    once = calibrate(device, lambda: torch.mm(left, left, out=product), 0.1)
    for call_seconds in CALL_SECONDS:
        repeats = max(1, round(call_seconds / (once.seconds / once.calls)))
        calls: list[int] = []

        def call(repeats: int = repeats, calls: list[int] = calls) -> None:
            calls.append(1)
            for _ in range(repeats):
                torch.mm(left, left, out=product)

        plan = calibrate(device, call, 0.01)
        energy.per_call(meter, device, call, plan)  # warm up until power is steady
        power = Power(nvml.open_gpu(uuid))
        calls.clear()
        started = time.perf_counter()
        power.start()
        joules = energy.per_call(meter, device, call, plan)
        seconds = time.perf_counter() - started
        power.end()
        watts = mean(power.watts)
        ratio = joules * len(calls) / (watts * seconds)
        yield {
            "call": f"{1e3 * take_window(device, call, plan).seconds / plan.calls:.2f} ms",
            "calls": len(calls),
            "joules a call": joules,
            "mean watts": watts,
            "seconds": seconds,
            "counted over power x time": ratio,
            "holds": abs(ratio - 1) <= ALLOWED,
        }

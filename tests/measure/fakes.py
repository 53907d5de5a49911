"""A device on which time passes as the test says."""

import random
from collections.abc import Callable

from rnnbench.measure.devices import Cpu


class FakeClock:
    """Time that passes only when a call spends it, and a little at each look."""

    def __init__(self, look_seconds: float = 0.0) -> None:
        self.seconds = 0.0
        self.look_seconds = look_seconds

    def __call__(self) -> float:
        self.seconds += self.look_seconds
        return self.seconds


def fake_cpu(cost: Callable[[int], float], look_seconds: float = 0.0) -> tuple[Cpu, Callable[[], None]]:
    """A device and a call whose n-th invocation (from 0) takes `cost(n)` seconds."""
    clock = FakeClock(look_seconds)
    calls = iter(range(10**9))

    def call() -> None:
        clock.seconds += cost(next(calls))

    return Cpu(now=clock), call


def noisy(seconds: float, spread: float, seed: int = 0) -> Callable[[int], float]:
    """A cost that is never below `seconds`, as timing noise only adds."""
    rng = random.Random(seed)
    return lambda _: seconds * (1 + spread * rng.expovariate(1))

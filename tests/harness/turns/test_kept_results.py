"""Calls that keep results by the values of their input, on a fake clock, and one in a real library."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

import rnnbench
from rnnbench.harness.devices import Cpu
from rnnbench.harness.turns.kept_results import FIRST_PAIRS, PAIRS, known_share
from tests.doubles.fakes import FakeClock
from tests.harness.live import QUICK

pytestmark = pytest.mark.usefixtures("short_turns")


class Module:
    """A call whose time depends on whether it has seen its values before."""

    def __init__(self, known_seconds: float, noise: Callable[[int], float] = lambda number: 1.0) -> None:
        self.clock = FakeClock()
        self.calls = 0
        self.known_seconds = known_seconds
        self._noise = noise
        self._seen: set[str] = set()
        self._values = ""

    def renew(self, seed: str) -> None:
        """Copy values into the input, which takes time of its own."""
        self._values = seed
        self.clock.seconds += 1.0

    def __call__(self) -> None:
        """Take a second for new values."""
        self.calls += 1
        seconds = self.known_seconds if self._values in self._seen else 1.0
        self.clock.seconds += seconds * self._noise(self.calls)
        self._seen.add(self._values)

    def share(self) -> float | None:
        """What the trial finds."""
        return known_share(Cpu("cpu"), self, self.renew, self.clock)


@pytest.mark.parametrize(("known_seconds", "is_kept"), [(0.07, True), (0.6, True), (0.8, False), (1.0, False)])
def test_known_values_that_take_much_less_time_come_from_a_cache(known_seconds: float, *, is_kept: bool) -> None:
    module = Module(known_seconds)
    for _ in range(2):  # a second trial shows it other values than the first one did
        share = module.share()
        assert share == (pytest.approx(known_seconds) if is_kept else None)
    assert module.calls == 2 * (1 + 2 * (PAIRS if is_kept else FIRST_PAIRS))


def test_stalls_of_the_machine_make_no_cache() -> None:
    """Each new call of the first pairs is disturbed, and every other one later."""
    stalls = {2, 4, 6, 8, 12}
    assert Module(1.0, lambda number: 4.0 if number in stalls else 1.0).share() is None
    assert Module(0.2, lambda number: 4.0 if number == 3 else 1.0).share() is not None


def test_a_clock_of_coarse_steps_shows_no_cache() -> None:
    assert known_share(Cpu("cpu"), lambda: None, lambda seed: None, lambda: math.pi) is None


class ByValue(nn.LSTM):
    """Keeps results by a hash of its input, and counts no products that torch shows."""

    def forward(self, input: torch.Tensor, hx: object = None) -> object:  # type: ignore[override]
        kept = self.__dict__.setdefault("kept", {})
        key = hash(input.detach().numpy().tobytes())
        if key not in kept:
            kept[key] = super().forward(input, hx)  # type: ignore[call-overload]
        return kept[key]


def test_a_layer_of_a_library_that_keeps_results_is_found() -> None:
    layer, mine = nn.LSTM(16, 64), ByValue(16, 64)
    mine.load_state_dict(layer.state_dict())
    found = rnnbench.measure({"mine": mine, "torch": layer}, torch.randn(64, 8, 16), **QUICK)
    assert "a cached result?" in found.frame["parity"]["mine"]
    assert found.frame.loc["mine", ["ratio", "ratio_low", "ratio_high"]].isna().all()
    assert found.frame["parity"]["torch"] == "is the reference"

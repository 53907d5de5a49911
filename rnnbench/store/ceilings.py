"""The best rates of a machine, with which the time of a case is compared."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

PLACE = ("device", "dtype", "threads")  # the axes that select a ceiling


@dataclass(frozen=True)
class Ceiling:
    """The best rates of one device, for one type and number of threads, as measured at the start of a run."""

    device: str
    dtype: str
    threads: int
    macs_per_second: float  # of a large square matrix product
    copies: tuple[tuple[int, float], ...]  # (bytes read and written, bytes per second) of copies of rising size
    dispatch_seconds: float  # of an operator that has nothing to do
    launch_seconds: float | None  # between empty kernels in a queue; None if the device launches none

    @property
    def step_seconds(self) -> float:
        """The shortest time from one operator to the next one that depends on it."""
        return max(self.dispatch_seconds, self.launch_seconds or 0.0)

    def bytes_per_second(self, size: float) -> float:
        """The best rate of the copies of at least `size` bytes: fewer bytes never lie in slower memory."""
        return max((rate for moved, rate in self.copies if moved >= size), default=self.copies[-1][1])

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `run.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**{**content, "copies": tuple((int(size), float(rate)) for size, rate in content["copies"])})

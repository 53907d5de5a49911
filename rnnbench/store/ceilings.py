"""What a machine can do at best, beside which a case's time is held."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

PLACE = ("device", "dtype", "threads")  # the axes that a ceiling belongs to


@dataclass(frozen=True)
class Ceiling:
    """The best rates of one device, for one type and number of threads, as measured at the start of a run."""

    device: str
    dtype: str
    threads: int
    macs_per_second: float  # of a large square matrix product
    copies: tuple[tuple[int, float], ...]  # (bytes read and written, bytes per second) of copies of rising size
    dispatch_seconds: float  # of an operator that has nothing to do
    launch_seconds: float | None  # between empty kernels in a queue; None where there are no kernels to launch

    @property
    def step_seconds(self) -> float:
        """The least time from one operator to the next that depends on it."""
        return max(self.dispatch_seconds, self.launch_seconds or 0.0)

    def bytes_per_second(self, size: float) -> float:
        """The best rate of all copies that move at least `size` bytes: fewer bytes lie in no slower a memory."""
        return max((rate for moved, rate in self.copies if moved >= size), default=self.copies[-1][1])

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `run.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**{**content, "copies": tuple((int(size), float(rate)) for size, rate in content["copies"])})

"""The best rates of a machine, with which the time of a case is compared."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, Self, TypeVar

from rnnbench.store.record import Count, Positive, Record, Seconds, Size

PLACE = ("device", "dtype", "threads")  # the axes that select a ceiling
REGISTERS = "registers"  # the rate of multiply-adds on registers, beside those of the libraries' products
MAX_OWN_BYTES = 1 << 18  # that fit into the caches which a core has for itself


class Rate(NamedTuple):
    """The best of several passes that are apart in time; noise on a shared machine only lowers a rate."""

    value: Positive  # per second: the best pass
    spread: Seconds = 0.0  # the best pass over the slowest pass, less one


class LibraryRate(NamedTuple):
    """MACs per second of the fastest large product of a library, or on registers."""

    library: str
    value: Positive
    spread: Seconds = 0.0


class SizedRate(NamedTuple):
    """Bytes per second of copying or reading a block of this size."""

    size: Count
    value: Positive
    spread: Seconds = 0.0


AnyRate = TypeVar("AnyRate", LibraryRate, SizedRate)
Sized = tuple[SizedRate, ...]


@dataclass(frozen=True)
class Ceiling(Record):
    """The best rates of one device, for one type and number of threads, as measured during a run."""

    device: str
    dtype: str
    threads: Size
    products: tuple[LibraryRate, ...]  # with `REGISTERS` where a compiler could build the kernel
    copies: Sized  # bytes read and written, of rising size
    reads: Sized  # the same for reading into registers, but for the largest size; empty without a compiler
    dispatch_seconds: Positive  # of an operator that has nothing to do
    launch_seconds: Positive | None  # between empty kernels in a queue; None if the device launches none

    @property
    def place(self) -> tuple[str, str, int]:
        """The values of `PLACE`."""
        return self.device, self.dtype, self.threads

    @property
    def macs_per_second(self) -> float:
        """The best rate of arithmetic."""
        return max(rate.value for rate in self.products)

    @property
    def step_seconds(self) -> float:
        """The shortest time from one operator to the next one that depends on it."""
        return max(self.dispatch_seconds, self.launch_seconds or 0.0)

    def bytes_per_second(self, size: float) -> float:
        """The rate of copying `size` bytes: fewer bytes never lie in slower memory."""
        return max((rate.value for rate in self.copies if rate.size >= size), default=self.copies[-1].value)

    def max_bytes_per_second(self, size: float) -> float:
        """A rate that moving `size` bytes can't exceed, whether they are read or written."""
        return max(_max_rate(self.copies, size), _max_rate(self.reads, size) if self.reads else 0.0)

    def max_reads_per_second(self, size: float) -> float | None:
        """A rate in bytes per second that reading `size` bytes again and again can't exceed; None if not measured."""
        return _max_rate(self.reads, size) if self.reads else None

    @property
    def rates(self) -> dict[str, Rate]:
        """The rates that tell machines apart, by a name for people.

        Rates of large blocks are left out: their memory is shared with other processes and other guests of the host.
        """
        names = {REGISTERS: "multiply-adds on registers"}
        named = {names.get(rate.library, f"products in {rate.library}"): Rate(*rate[1:]) for rate in self.products}
        for kind, sized in (("copies", self.copies), ("reads", self.reads)):
            own = (rate for rate in sized if rate.size <= MAX_OWN_BYTES)
            named |= {f"{kind} of {rate.size / 1024:g} KiB": Rate(*rate[1:]) for rate in own}
        return named

    def joined(self, other: Self) -> Self:
        """This ceiling and another measurement of it, at another time: the best of both."""
        launches = [seconds for seconds in (self.launch_seconds, other.launch_seconds) if seconds is not None]
        return replace(
            self,
            products=_joined(self.products, other.products),
            copies=_joined(self.copies, other.copies),
            reads=_joined(self.reads, other.reads),
            dispatch_seconds=min(self.dispatch_seconds, other.dispatch_seconds),
            launch_seconds=min(launches, default=None),
        )

    def to_text(self) -> str:
        """Return the ceiling as JSON, as the column `ceiling` of a frame holds it."""
        return json.dumps(self.to_json())

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Return the ceiling with this content; older versions recorded one rate of products, and no reads."""
        if isinstance(content, dict) and "macs_per_second" in content:
            content = {**content, "products": [["torch.mm", content["macs_per_second"]]], "reads": []}
        return super().from_json(content)


@lru_cache(maxsize=256)  # all cases of one place have the same text
def of_text(text: Any) -> Ceiling | None:
    """Return the ceiling in the column `ceiling` of a frame; None where the rates were not measured."""
    return Ceiling.from_json(json.loads(text)) if isinstance(text, str) and text else None


def best_of(ceilings: Iterable[Ceiling]) -> list[Ceiling]:
    """Return one ceiling for each device, type and number of threads: the best of all measurements of it."""
    by_place: dict[tuple[str, str, int], Ceiling] = {}
    for ceiling in ceilings:
        known = by_place.get(ceiling.place)
        by_place[ceiling.place] = ceiling if known is None else known.joined(ceiling)
    return list(by_place.values())


def _max_rate(sized: Sized, size: float) -> float:
    """Return the best rate of the next smaller measured size, which may lie in faster memory, and of all larger."""
    smaller = max((rate.size for rate in sized if rate.size <= size), default=0)
    return max(rate.value for rate in sized if rate.size >= smaller)


def _joined(rates: tuple[AnyRate, ...], others: tuple[AnyRate, ...]) -> tuple[AnyRate, ...]:
    """Return the best rates of both, those that only one has included; the spread is that of all their passes."""
    known = {rate[0]: rate for rate in rates}
    for other in others:
        pair = (known.get(other[0], other), other)
        best, slowest = max(rate.value for rate in pair), min(rate.value / (1 + rate.spread) for rate in pair)
        known[other[0]] = other._replace(value=best, spread=best / slowest - 1)
    return tuple(known.values())

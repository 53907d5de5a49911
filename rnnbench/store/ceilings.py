"""The best rates of a machine, with which the time of a case is compared."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Generic, NamedTuple, Self, TypeVar

from rnnbench.store.stored_record import Count, Positive, Record, Seconds, Size

REGISTERS = "registers"  # the rate of multiply-adds on registers, beside those of the libraries' products
MAX_OWN_BYTES = 1 << 18  # that fit into the caches which a core has for itself

Work = TypeVar("Work", str, int)


class Rate(NamedTuple, Generic[Work]):
    """The best of several passes that are apart in time; noise on a shared machine only lowers a rate."""

    work: Work  # the library of a product, or the bytes that are copied or read
    value: Positive  # MACs or bytes per second: the best pass
    spread: Seconds = 0.0  # the best pass over the slowest pass, less one


Sized = tuple[Rate[Count], ...]


@dataclass(frozen=True)
class Ceiling(Record):
    """The best rates of one device, for one type and number of threads, as measured during a run."""

    device: str
    dtype: str
    threads: Size
    products: tuple[Rate[str], ...]  # of each library; with `REGISTERS` if a compiler built the kernel
    copies: Sized  # of bytes read and written, of rising size
    reads: Sized  # the same for reading into registers, but for the largest size; empty without a compiler
    dispatch_seconds: Positive  # of an operator that has nothing to do
    launch_seconds: Positive | None  # between empty kernels in a queue; None if the device launches none

    @property
    def place(self) -> tuple[str, str, int]:
        """The device, dtype and threads of the cases that it holds for."""
        return self.device, self.dtype, self.threads

    @property
    def macs_per_second(self) -> float:
        """The best rate of arithmetic."""
        return max(rate.value for rate in self.products)

    @property
    def step_seconds(self) -> float:
        """The shortest time from one operator to the next one that depends on it."""
        return max(self.dispatch_seconds, self.launch_seconds or 0.0)

    def max_bytes_per_second(self, size: float) -> float:
        """Return a rate that moving `size` bytes can't exceed, whether they are read or written."""
        return max(_max_rate(rates, size) for rates in (self.copies, self.reads) if rates)

    def max_reads_per_second(self, size: float) -> float:
        """Return the bytes per second that reading `size` bytes again and again can't exceed; infinite if not known."""
        return _max_rate(self.reads, size) if self.reads else float("inf")

    @property
    def rates(self) -> dict[str, Rate[Any]]:
        """The rates that tell machines apart, by a name for people.

        Rates of large blocks are left out: their memory is shared with other processes and other guests of the host.
        """
        return {f"products in {rate.work}": rate for rate in self.products} | {
            f"{kind} of {rate.work / 1024:g} KiB": rate
            for kind, sized in (("copies", self.copies), ("reads", self.reads))
            for rate in sized
            if rate.work <= MAX_OWN_BYTES
        }

    def joined(self, other: Self) -> Self:
        """This ceiling and another measurement of it, at another time: the best of both."""
        return replace(
            self,
            products=_joined(self.products, other.products),
            copies=_joined(self.copies, other.copies),
            reads=_joined(self.reads, other.reads),
            dispatch_seconds=min(self.dispatch_seconds, other.dispatch_seconds),
            launch_seconds=min(filter(None, (self.launch_seconds, other.launch_seconds)), default=None),
        )

    def to_text(self) -> str:
        """Return the ceiling as JSON, as the column `ceiling` of a frame holds it."""
        return json.dumps(self.to_json())


@lru_cache(maxsize=256)  # all cases of one place have the same text
def of_text(text: Any) -> Ceiling | None:
    """Return the ceiling in the column `ceiling` of a frame; None where the rates were not measured."""
    return Ceiling.from_json(json.loads(text)) if isinstance(text, str) and text else None


def best_of(ceilings: Iterable[Ceiling]) -> list[Ceiling]:
    """Return one ceiling for each device, type and number of threads: the best of all measurements of it."""
    by_place: dict[tuple[str, str, int], Ceiling] = {}
    for ceiling in ceilings:
        before = by_place.get(ceiling.place)
        by_place[ceiling.place] = ceiling if before is None else before.joined(ceiling)
    return list(by_place.values())


def _max_rate(sized: Sized, size: float) -> float:
    """Return the best rate of the next smaller measured size, which may lie in faster memory, and of all larger."""
    smaller = max((rate.work for rate in sized if rate.work <= size), default=0)
    return max(rate.value for rate in sized if rate.work >= smaller)


def _joined(rates: tuple[Rate[Work], ...], others: tuple[Rate[Work], ...]) -> tuple[Rate[Work], ...]:
    """Return the best rates of both, those that only one has included; the spread is that of all their passes."""
    by_work = {rate.work: rate for rate in rates}
    for other in others:
        pair = (by_work.get(other.work, other), other)
        best = max(rate.value for rate in pair)
        slowest = min(rate.value / (1 + rate.spread) for rate in pair)
        by_work[other.work] = Rate(other.work, best, best / slowest - 1)
    return tuple(by_work.values())

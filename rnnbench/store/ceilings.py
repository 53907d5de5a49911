"""The best rates of a machine, with which the time of a case is compared."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Self

PLACE = ("device", "dtype", "threads")  # the axes that select a ceiling
REGISTERS = "registers"  # the rate of multiply-adds on registers, beside those of the libraries' products
MAX_OWN_BYTES = 1 << 18  # that fit into the caches which a core has for itself
OF_OLDER_VERSIONS = "torch.mm"  # the only products that older versions measured


@dataclass(frozen=True)
class Rate:
    """The best of several passes that are apart in time; noise on a shared machine only lowers a rate."""

    value: float  # per second: the best pass
    spread: float = 0.0  # the best pass over the slowest pass, less one

    def joined(self, other: Self) -> Self:
        """The rate of the passes of both."""
        best = max(self.value, other.value)
        slowest = min(rate.value / (1 + rate.spread) for rate in (self, other))
        return type(self)(best, best / slowest - 1)


Named = tuple[tuple[str, Rate], ...]
Sized = tuple[tuple[int, Rate], ...]


@dataclass(frozen=True)
class Ceiling:
    """The best rates of one device, for one type and number of threads, as measured during a run."""

    device: str
    dtype: str
    threads: int
    # Library -> MACs per second of its fastest large product; and `REGISTERS`, where a compiler could build the kernel.
    products: Named
    copies: Sized  # bytes read and written -> bytes per second of copies of rising size
    reads: Sized  # the same for reading into registers, but for the largest size; empty without a compiler
    dispatch_seconds: float  # of an operator that has nothing to do
    launch_seconds: float | None  # between empty kernels in a queue; None if the device launches none

    @property
    def place(self) -> tuple[str, str, int]:
        """The values of `PLACE`."""
        return self.device, self.dtype, self.threads

    @property
    def macs_per_second(self) -> float:
        """The best rate of arithmetic."""
        return max(rate.value for _, rate in self.products)

    @property
    def step_seconds(self) -> float:
        """The shortest time from one operator to the next one that depends on it."""
        return max(self.dispatch_seconds, self.launch_seconds or 0.0)

    def bytes_per_second(self, size: float) -> float:
        """The rate of copying `size` bytes: fewer bytes never lie in slower memory."""
        return max((rate.value for moved, rate in self.copies if moved >= size), default=self.copies[-1][1].value)

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
        named = {names.get(library, f"products in {library}"): rate for library, rate in self.products}
        for kind, sized in (("copies", self.copies), ("reads", self.reads)):
            named |= {f"{kind} of {_binary(size)}": rate for size, rate in sized if size <= MAX_OWN_BYTES}
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

    def to_json(self) -> dict[str, Any]:
        """A dictionary for `run.json`."""
        content = asdict(self)
        for name in ("products", "copies", "reads"):
            content[name] = [[key, rate.value, rate.spread] for key, rate in getattr(self, name)]
        return content

    def to_text(self) -> str:
        """The ceiling as JSON, as the column `ceiling` of a frame holds it."""
        return json.dumps(self.to_json())

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; older versions recorded one rate of products, no reads and no spreads."""
        is_older = "products" not in content
        products = [[OF_OLDER_VERSIONS, content["macs_per_second"], 0.0]] if is_older else content["products"]
        copies = [[*copy, 0.0][:3] for copy in content["copies"]]
        return cls(
            device=content["device"],
            dtype=content["dtype"],
            threads=content["threads"],
            products=_rates(products, str),
            copies=_rates(copies, int),
            reads=_rates(content.get("reads", ()), int),
            dispatch_seconds=content["dispatch_seconds"],
            launch_seconds=content["launch_seconds"],
        )


@lru_cache(maxsize=256)  # all cases of one place have the same text
def _of_text(text: str) -> Ceiling:
    return Ceiling.from_json(json.loads(text))


def of_text(text: Any) -> Ceiling | None:
    """The ceiling in the column `ceiling` of a frame; None where it is empty, since the rates were not measured."""
    return _of_text(text) if isinstance(text, str) and text else None


def best_of(ceilings: Iterable[Ceiling]) -> list[Ceiling]:
    """One ceiling for each device, type and number of threads: the best of all measurements of it."""
    by_place: dict[tuple[str, str, int], Ceiling] = {}
    for ceiling in ceilings:
        known = by_place.get(ceiling.place)
        by_place[ceiling.place] = ceiling if known is None else known.joined(ceiling)
    return list(by_place.values())


def _max_rate(sized: Sized, size: float) -> float:
    """The best rate of the next smaller measured size, which may lie in faster memory, and of all larger ones."""
    smaller = max((moved for moved, _ in sized if moved <= size), default=0)
    return max(rate.value for moved, rate in sized if moved >= smaller)


def _rates(lines: Iterable[Any], kind: Callable[[Any], Any]) -> Any:
    return tuple((kind(key), Rate(float(value), float(spread))) for key, value, spread in lines)


def _joined(rates: Any, others: Any) -> Any:
    """The rates of both, those that only one has included."""
    known = dict(rates)
    for key, rate in others:
        known[key] = known[key].joined(rate) if key in known else rate
    return tuple(known.items())


def _binary(size: int) -> str:
    """A number of bytes in the largest binary unit that it fills: `256 KiB`."""
    for unit, bytes_each in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= bytes_each:
            return f"{size / bytes_each:g} {unit}"
    return f"{size} B"

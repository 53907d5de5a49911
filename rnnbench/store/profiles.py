"""What a profile of one case holds: raw times, one for each round, and counts. Everything else is derived."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

CallPart = Literal["forward", "backward", "optimizer"]
Category = Literal["products", "pointwise", "copies", "layer", "other", "views"]
CauseKind = Literal[
    "copy",
    "concatenation",
    "not hoisted",
    "output product",
    "loop invariant",
    "synchronisation",
    "unused",
    "small products",
    "weight gradients",
    "threads",
]
ProfileStatus = Literal["profiled", "failed"]

PACKED = " with packed weights"  # the end of the name of a library that stores weights in an order of its own
PACKING = "packing"  # of each weight once, for oneDNN; stands beside the libraries
# The name of each category, in the order of figures and tables; views neither move nor compute anything.
CATEGORIES: dict[Category, str] = {
    "products": "matrix products",
    "pointwise": "pointwise",
    "copies": "copies and fills",
    "layer": "fused layer",
    "other": "other arithmetic",
    "views": "views",
}
PARTS: tuple[CallPart, ...] = ("forward", "backward", "optimizer")


@dataclass(frozen=True)
class Operator:
    """Calls of one operator on tensors of the same shapes; times are of all its calls in one call of the case."""

    name: str  # `aten::addmm`
    shapes: str  # of its tensors: `32x64, 64x256`
    category: Category
    part: CallPart
    calls: int
    new_bytes: int = 0  # of results that are not views, in one call of the case
    seconds: tuple[float, ...] = ()  # in its place in the call, for each round
    idle_seconds: tuple[float, ...] = ()  # the same with one value in each tensor: all but the arithmetic


@dataclass(frozen=True)
class Cause:
    """Something that the call does but need not do, and its cost: the time with it minus the time without it."""

    kind: CauseKind
    what: str  # `clone (my_cell.py:31)`
    calls: int  # in one call of the case
    seconds: tuple[float, ...] = ()  # for each round


@dataclass(frozen=True)
class Kernels:
    """What a device did in one profiled call; the profiler lengthens the gaps, but not the kernels on its own clock."""

    launches: int
    seconds: dict[Category, float]  # of kernels, by the category of their operator
    host_waits: int = 0  # calls of the driver that wait for the device


@dataclass(frozen=True)
class Products:
    """The matrix products of one call, and the time that all of them take in each library, for each round."""

    library: str  # that makes them in the call itself
    calls: int = 0
    seconds: dict[str, tuple[float, ...]] = field(default_factory=dict)  # by library, and of `PACKING`
    idle_seconds: dict[str, tuple[float, ...]] = field(default_factory=dict)  # with one value in each matrix


@dataclass(frozen=True)
class Profile:
    """Where the time of one call goes."""

    case: str  # its key, or the name of a module
    status: ProfileStatus = "profiled"
    reason: str = ""
    steps: int = 1  # of the sequence
    times: dict[str, tuple[float, ...]] = field(default_factory=dict)  # arm -> seconds per call, one for each round
    operators: tuple[Operator, ...] = ()
    opaque: str = ""  # why the operators can't be seen; empty if they can
    causes: tuple[Cause, ...] = ()
    products: Products | None = None  # None if a device launches its kernels, or if they are not known
    kernels: Kernels | None = None  # None if the device launches none, or if they could not be seen
    no_kernels: str = ""  # why the kernels of a device that launches them could not be seen; empty elsewhere
    allocations: int | None = None  # blocks that one call asks for
    peak_bytes: int | None = None  # the most bytes of them that it holds at once
    files: dict[str, str] = field(default_factory=dict)  # `trace`, `snapshot` -> file in the run's folder
    notes: tuple[str, ...] = ()  # what was cut short, and why

    @property
    def works(self) -> bool:
        """Whether the profile succeeded."""
        return self.status == "profiled"

    @property
    def launches(self) -> bool:
        """Whether the device runs beside the host, so that the host's clock can't time a kernel."""
        return self.kernels is not None or self.no_kernels != ""

    def to_json(self) -> dict[str, Any]:
        """A dictionary for one JSON line; times are rounded to a nanosecond or less, but never to zero."""
        line = asdict(self)
        line["times"] = {arm: _rounded(values) for arm, values in self.times.items()}
        for name in ("operators", "causes"):
            for record in line[name]:
                record |= {key: _rounded(record[key]) for key in ("seconds", "idle_seconds") if key in record}
        if self.products is not None:
            for name in ("seconds", "idle_seconds"):
                line["products"][name] = {key: _rounded(values) for key, values in line["products"][name].items()}
        return line

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; unknown keys are ignored, also in nested objects."""
        known = _known(cls, line)
        kernels, products = known.get("kernels"), known.get("products")
        return cls(
            **known
            | {
                "times": {arm: tuple(values) for arm, values in known.get("times", {}).items()},
                "operators": tuple(Operator(**_known(Operator, record)) for record in known.get("operators", ())),
                "causes": tuple(Cause(**_known(Cause, record)) for record in known.get("causes", ())),
                "products": None if products is None else _products(products),
                "kernels": None if kernels is None else Kernels(**_known(Kernels, kernels)),
            }
        )


def _products(content: Mapping[str, Any]) -> Products:
    known = _known(Products, content)
    tables = {name: known.get(name, {}) for name in ("seconds", "idle_seconds")}
    return Products(
        **known | {name: {key: tuple(values) for key, values in table.items()} for name, table in tables.items()}
    )


def _known(kind: Any, content: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of an object that are fields of `kind`, lists as tuples."""
    names = (attribute.name for attribute in fields(kind))
    entries = {name: content[name] for name in names if name in content}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entries.items()}


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, 10) or value for value in values]

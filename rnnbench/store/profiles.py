"""What a profile of one case holds: raw times, one for each round, and counts. Everything else is derived."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydantic import TypeAdapter

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
        """Return a dictionary for one JSON line; times are rounded to a nanosecond or less, but never to zero."""
        line: dict[str, Any] = _rounded(asdict(self))
        return line

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Profile":
        """Return the profile of a line that is valid; unknown keys are ignored, also in nested objects."""
        return _reader().validate_python(line)


@cache
def _reader() -> "TypeAdapter[Profile]":
    from pydantic import TypeAdapter

    return TypeAdapter(Profile)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_rounded(inner) for inner in value]
    return (round(value, 10) or value) if isinstance(value, float) else value

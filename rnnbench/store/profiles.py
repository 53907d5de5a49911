"""What a profile of one case holds: raw times, one for each round, and counts. Everything else is derived."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import MinLen

from rnnbench.store.stored_record import Count, Number, Positive, Record, Seconds, Size

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
# The name of each category, in the order of figures and tables; views neither move nor compute anything.
CATEGORIES: dict[Category, str] = {
    "products": "matmuls",
    "pointwise": "pointwise",
    "copies": "copies and fills",
    "layer": "fused layer",
    "other": "other arithmetic",
    "views": "views",
}
PARTS: tuple[CallPart, ...] = ("forward", "backward", "optimizer")


@dataclass(frozen=True)
class CauseRow:
    """What is known of a kind of needless work."""

    label: str  # in figures
    costs: str  # in a sentence that says how much of a gap it explains
    cure: str
    within: Literal["overhead", "kernels"] = "overhead"  # the part of a call whose time it costs


# The causes of a gap. To add one, name it in `CauseKind`, and write its row and what finds it: a function of
# `rnnbench/profiling/causes.py`, for all that a recorded program shows (`weight gradients`:
# `product_replays.py`, `threads`: `profile.py`).
CAUSES: dict[CauseKind, CauseRow] = {
    "copy": CauseRow("needless copy", "a needless copy costs", "use the tensor without a copy"),
    "concatenation": CauseRow(
        "concatenation",
        "concatenating tensors costs",
        "multiply each part with its own weight, and add the results",
    ),
    "not hoisted": CauseRow(
        "input matmul in every step",
        "a matmul of the input in every step, instead of one before the loop, costs",
        "compute the matmul of the input once for all steps, before the loop",
    ),
    "output product": CauseRow(
        "output matmul in every step",
        "a matmul of the output in every step, instead of one after the loop, costs",
        "compute the matmul of the output once for all steps, after the loop",
    ),
    "loop invariant": CauseRow(
        "same value in every step",
        "computing the same value again in every step costs",
        "compute the value once, before the loop",
    ),
    "weight gradients": CauseRow(
        "weight gradients step by step",
        "a matmul for the weight gradients in every step, instead of one for all, costs",
        "run it as rnnbench's `compiled`, which computes them in one matmul",
        within="kernels",
    ),
    "threads": CauseRow("several threads", "distributing the work over several threads costs", "run on one thread"),
    "synchronisation": CauseRow(
        "value read back", "reading a value back into Python costs", "check the value once, after the loop"
    ),
    "unused": CauseRow("result that nothing uses", "a result that nothing uses costs", "leave the unused result out"),
    "small products": CauseRow(
        "several small matmuls",
        "several matmuls of one input, instead of one, cost",
        "stack the weights, and split the result of one matmul",
    ),
}


@dataclass(frozen=True)
class Operator:
    """Calls of one operator on tensors of the same shapes; times are of all its calls in one call of the case."""

    name: str  # `aten::addmm`
    shapes: str  # of its tensors: `32x64, 64x256`
    category: Category
    part: CallPart
    calls: Size
    new_bytes: Count = 0  # of results that are not views, in one call of the case
    seconds: tuple[Seconds, ...] = ()  # in its place in the call, for each round
    idle_seconds: tuple[Seconds, ...] = ()  # the same with one value in each tensor: all but the arithmetic


@dataclass(frozen=True)
class Cause:
    """Something that the call does but need not do, and its cost: the time with it minus the time without it."""

    kind: CauseKind
    what: str  # `clone (my_cell.py:31)`
    calls: Count  # in one call of the case
    seconds: tuple[Number, ...] = ()  # for each round
    operators: tuple[str, ...] = ()  # that it calls


@dataclass(frozen=True)
class Kernels:
    """What a device did in one profiled call; the profiler lengthens the gaps, but not the kernels on its own clock."""

    launches: Count
    seconds: dict[Category, Seconds]  # of kernels, by the category of their operator


@dataclass(frozen=True)
class Products:
    """The matrix products of one call, and the time that all of them take in each library, for each round."""

    library: str  # that makes them in the call itself
    calls: Count = 0
    seconds: dict[str, tuple[Seconds, ...]] = field(default_factory=dict)  # by library, packing included
    idle_seconds: dict[str, tuple[Seconds, ...]] = field(default_factory=dict)  # with one value in each matrix


@dataclass(frozen=True)
class Profile(Record):
    """Where the time of one call goes."""

    case: str  # its key, or the name of a module
    status: Literal["profiled", "failed"] = "profiled"
    reason: str = ""
    steps: Size = 1  # of the sequence
    # Arm -> seconds per call, one for each round.
    times: dict[str, Annotated[tuple[Positive, ...], MinLen(1)]] = field(default_factory=dict)
    operators: tuple[Operator, ...] = ()
    opaque: str = ""  # why its operators, or the kernels that a device launches, can't be seen; empty if they can
    causes: tuple[Cause, ...] = ()
    products: Products | None = None  # None if a device launches its kernels, or if they are not known
    kernels: Kernels | None = None  # None if the device launches none, or if they could not be seen
    files: dict[str, str] = field(default_factory=dict)  # `trace` -> file in the run's folder
    notes: tuple[str, ...] = ()  # what was cut short, and why

    @property
    def works(self) -> bool:
        """Whether the profile succeeded."""
        return self.status == "profiled"

"""What a call's time is made of: terms that grow with its sizes, each with its cause, and the forms that add them up.

Some forms add their terms (after Hockney's half-performance length, where a start-up and a rate are one straight line).
Others, with the same terms, take the larger of two, as the roofline does (Williams, Waterman and Patterson
2009, doi:10.1145/1498765.1498785). The error at points that were held out decides which form a series gets.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rnnbench.store.ceilings import Ceiling

Array = npt.NDArray[np.float64]
TimeCause = Literal["dispatch", "arithmetic", "memory"]
CAUSES: tuple[TimeCause, ...] = ("dispatch", "arithmetic", "memory")
PRODUCTS_IN_TRAINING = 3  # with each weight: forward, for its gradient, for its operand's gradient


@dataclass(frozen=True)
class Work:
    """The work of calls at some sizes, an entry for each call."""

    batch: Array
    steps: Array
    hidden: Array
    macs: Array
    item_bytes: int
    takes_gradients: bool
    ceiling: Ceiling | None

    @property
    def weight_bytes(self) -> Array:
        """Bytes of weights read over all steps: each is in one product for each row, and is read once for all rows."""
        return self.item_bytes * self.macs / self.batch

    @property
    def resident_bytes(self) -> Array:
        """Bytes that the weights occupy, which decides how near to the processor they lie."""
        products = PRODUCTS_IN_TRAINING if self.takes_gradients else 1
        size: Array = self.weight_bytes / (self.steps * products)
        return size

    def cached_weight_seconds(self) -> Array:
        """The least seconds for reading the weights, at the rate of copies of their size; NaN without a ceiling."""
        if self.ceiling is None:
            return np.full_like(self.batch, np.nan)
        rates = np.array([self.ceiling.bytes_per_second(size) for size in self.resident_bytes])
        seconds: Array = self.weight_bytes / rates
        return seconds

    def arithmetic_seconds(self) -> Array:
        """The least seconds for the products, at the best rate; NaN without a ceiling."""
        return self.macs / self.ceiling.macs_per_second if self.ceiling else np.full_like(self.batch, np.nan)


def _roof_arithmetic(work: Work) -> Array:
    arithmetic, memory = work.arithmetic_seconds(), work.cached_weight_seconds()
    return np.where(arithmetic >= memory, arithmetic, 0.0)


def _roof_memory(work: Work) -> Array:
    arithmetic, memory = work.arithmetic_seconds(), work.cached_weight_seconds()
    return np.where(arithmetic >= memory, 0.0, memory)


# The causes of each term, and how much of it a call has; a coefficient turns that into seconds.
TERMS: dict[str, Mapping[TimeCause, Callable[[Work], Array]]] = {
    "call": {"dispatch": lambda work: np.ones_like(work.batch)},
    "step": {"dispatch": lambda work: work.steps},
    "macs": {"arithmetic": lambda work: work.macs},
    "state bytes": {"memory": lambda work: work.item_bytes * work.steps * work.batch * work.hidden},
    "weight bytes": {"memory": lambda work: work.weight_bytes},
    "weight bytes, once": {"memory": lambda work: work.weight_bytes / work.steps},
    "weights from cache": {"memory": lambda work: work.cached_weight_seconds()},
    "roof": {"arithmetic": _roof_arithmetic, "memory": _roof_memory},
}

# From few terms to many: of two forms that are equally good, the first is taken.
FORMS: dict[str, tuple[str, ...]] = {
    "steps": ("call", "step"),
    "arithmetic": ("call", "step", "macs"),
    "roofline": ("call", "step", "roof", "state bytes"),
    "sum": ("call", "step", "macs", "state bytes", "weight bytes"),
    "sum by cache": ("call", "step", "macs", "state bytes", "weights from cache"),
    "sum with weights once": ("call", "step", "macs", "state bytes", "weight bytes", "weight bytes, once"),
}


def columns(form: str, work: Work) -> Array:
    """How much each call has of each of a form's terms: (calls, terms)."""
    terms = (sum((part(work) for part in TERMS[term].values()), np.zeros_like(work.batch)) for term in FORMS[form])
    return np.stack(list(terms), axis=1)


def by_cause(form: str, coefficients: Array, work: Work) -> dict[TimeCause, Array]:
    """Seconds that each cause takes of each call."""
    seconds = {cause: np.zeros_like(work.batch) for cause in CAUSES}
    for coefficient, term in zip(coefficients, FORMS[form], strict=True):
        for cause, part in TERMS[term].items():
            seconds[cause] = seconds[cause] + coefficient * part(work)
    return seconds

"""The steps between two profiled calls: the library of their products, then kernels and overhead, or all else."""

from dataclasses import dataclass, replace

import numpy as np

from rnnbench.analysis.estimate import UNKNOWN, Estimate, estimate, minus
from rnnbench.analysis.gaps.breakdown import MAX_EXCESS, breakdown, in_one_piece
from rnnbench.store.profiles import PACKED, PACKING, Products, Profile

MIN_SAVED = 0.05  # of the call; a library that saves less is not mentioned
OVERHEADS = ("overhead", "gaps")  # the shares of a breakdown outside kernels


@dataclass(frozen=True)
class Libraries:
    """The same products in the library of one call, and in that of the other."""

    own: str
    other: str
    ratio: float  # of their times, own to other


@dataclass(frozen=True)
class Step:
    """The time that one change saves; negative if it adds time."""

    # A rung of the ladder, a kind of cause, `library`, `products`, `overhead`, `kernels`, `besides`, or `rest`.
    kind: str
    what: str  # where a cause is in the code; empty for rungs
    seconds: Estimate
    share: Estimate = UNKNOWN  # of the gap; NaN if the gap is not certain
    calls: int = 0  # of a cause in one call of the case
    libraries: Libraries | None = None

    @property
    def is_certain(self) -> bool:
        """Whether it differs from zero by more than chance."""
        return self.seconds.lower > 0 or self.seconds.upper < 0


def between(last: Profile, reference: Profile, eager: Profile | None = None) -> tuple[Step, ...]:
    """The differences between two profiled calls; empty if nothing is known of them.

    Products in different libraries are a step of their own, and so are other products in the same library, such as many
    small ones for a large one. The others come from both breakdowns, outside kernels and in kernels. If a call can't be
    taken apart, there is only one other step, `besides`: the rest of the difference. `eager` is a profile that shows
    the products of `last`, if `last` is compiled and does not show them.
    """
    if not (last.works and reference.works):
        return ()
    products = last.products or (None if eager is None else eager.products)
    if products is None or reference.products is None:
        of_products, known = [], False
    else:
        of_products, known = _of_products(products, reference.products), _fit(products, last, reference)
    if not (in_one_piece(last) or in_one_piece(reference)):
        steps = _by_breakdown(last, reference)
    elif known:
        ends = [estimate(list(profile.times["call"])) for profile in (last, reference)]
        steps = [Step("besides", "", minus(ends[0], ends[1:]))]
    else:
        return ()
    if not known:
        return tuple(steps)
    rest = minus(steps[-1].seconds, [step.seconds for step in of_products])
    return (*of_products, *steps[:-1], Step(steps[-1].kind, "", rest))


def faster_library(profile: Profile) -> Step | None:
    """What another library would save of the call's products, the way to it included; None if none saves beyond chance.

    Weights are packed before the call, as code can do whose weights stay the same.
    """
    products = profile.products
    if products is None or products.library not in products.seconds:
        return None
    own = np.asarray(products.seconds[products.library])
    others = {name: np.asarray(seconds) for name, seconds in products.seconds.items() if name != PACKING}
    best = min(others, key=lambda name: float(np.median(others[name])))
    saved = estimate((own - others[best]).tolist())
    if best == products.library or not saved.lower > 0 or saved.value < MIN_SAVED * np.median(profile.times["call"]):
        return None
    libraries = Libraries(products.library, best, float(np.median(own) / np.median(others[best])))
    return Step("library", "", saved, calls=products.calls, libraries=libraries)


def in_fastest_library(profile: Profile) -> Profile:
    """The profile of a call whose products are made as `prepacked` makes them: in the fastest library measured."""
    products = profile.products
    if products is None:
        return profile
    measured = {library: in_library(products, library) for library in products.seconds if library != PACKING}
    medians = {library: float(np.median(seconds)) for library, seconds in measured.items() if seconds is not None}
    if not medians:
        return profile
    return replace(profile, products=replace(products, library=min(medians, key=lambda library: medians[library])))


def in_library(products: Products, library: str) -> np.ndarray | None:
    """Seconds of the arithmetic of all products in a library, for each round; None if it was not measured there.

    The way to a library, which differs for each operator, is subtracted. Products that take no longer than that, as
    those of a few numbers may, count as not measured. Packing each weight once is included, as oneDNN's layers do in
    each call.
    """
    seconds = _arithmetic(products, library)
    packing = _arithmetic(products, PACKING) if library.endswith(PACKED) else None
    return seconds if seconds is None or packing is None else seconds + packing


def _arithmetic(products: Products, library: str) -> np.ndarray | None:
    if library not in products.seconds or library not in products.idle_seconds:
        return None
    difference = np.asarray(products.seconds[library]) - np.asarray(products.idle_seconds[library])
    arithmetic: np.ndarray = np.maximum(difference, 0.0)  # below 0 by noise
    return arithmetic if library == PACKING or np.median(arithmetic) > 0 else None


def _by_breakdown(last: Profile, reference: Profile) -> list[Step]:
    steps = []
    for kind, is_overhead in (("overhead", True), ("kernels", False)):
        own, other = (
            [share.seconds for share in breakdown(profile) if (share.what in OVERHEADS) == is_overhead]
            for profile in (last, reference)
        )
        negative = [Estimate(-seconds.value, -seconds.upper, -seconds.lower) for seconds in own]
        nothing = Estimate(0.0, 0.0, 0.0)
        steps.append(Step(kind, "", minus(nothing, [*negative, *other])))
    return steps


def _of_products(products: Products, of_reference: Products) -> list[Step]:
    """What another library costs, and what other products than the reference's cost in the reference's library.

    The first is missing if it is the same library or was not measured, the second if the reference's products were not
    seen, as in a fused layer.
    """
    steps = []
    own, other = in_library(products, products.library), in_library(products, of_reference.library)
    if own is not None and other is not None and products.library != of_reference.library:
        libraries = Libraries(products.library, of_reference.library, float(np.median(own) / np.median(other)))
        seconds = estimate((own - other).tolist())
        steps.append(Step("library", "", seconds, calls=products.calls, libraries=libraries))
    its = in_library(of_reference, of_reference.library)
    if other is not None and its is not None:
        negative = estimate((-other).tolist())
        steps.append(Step("products", "", minus(Estimate(0.0, 0.0, 0.0), [negative, estimate(its.tolist())])))
    return steps


def _fit(products: Products, last: Profile, reference: Profile) -> bool:
    """Whether the products of both ends were measured, and took no longer than the calls, as at a busy moment."""
    assert reference.products is not None
    of_reference = reference.products if reference.products.seconds else products
    for profile, own, library in (
        (last, products, products.library),
        (reference, of_reference, reference.products.library),
    ):
        seconds = in_library(own, library)
        if seconds is None or np.median(seconds) > (1 + MAX_EXCESS) * np.median(profile.times["call"]):
            return False
    return True

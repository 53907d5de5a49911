"""Profiles brought to the speed that the machine had in the run: shares come from profiles, times from the run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rnnbench.analysis.estimate import estimate
from rnnbench.store.profiles import Profile

MAX_DIFFERENCE = 0.5  # of a call's time in the run; a profile that differs by more does not explain it


def is_alike(profile: Profile | None, seconds: float) -> bool:
    """Whether the calls of a profile took about as long as `seconds` in the run, and the machine was not busier."""
    if profile is None or not profile.works:
        return False
    return 1 / (1 + MAX_DIFFERENCE) <= _factor(profile, seconds) <= 1 + MAX_DIFFERENCE


def rescaled(profile: Profile, seconds: float) -> Profile:
    """The profile with all times multiplied by one factor, so that its call takes `seconds`, as in the run."""
    factor = _factor(profile, seconds)

    def times(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(value * factor for value in values)

    def all_times(arms: Mapping[Any, tuple[float, ...]]) -> dict[Any, tuple[float, ...]]:
        return {arm: times(values) for arm, values in arms.items()}

    products, kernels = profile.products, profile.kernels
    return replace(
        profile,
        times=all_times(profile.times),
        operators=tuple(
            replace(each, seconds=times(each.seconds), idle_seconds=times(each.idle_seconds))
            for each in profile.operators
        ),
        causes=tuple(replace(each, seconds=times(each.seconds)) for each in profile.causes),
        kernels=kernels
        and replace(kernels, seconds={category: value * factor for category, value in kernels.seconds.items()}),
        products=products
        and replace(products, seconds=all_times(products.seconds), idle_seconds=all_times(products.idle_seconds)),
    )


def _factor(profile: Profile, seconds: float) -> float:
    return seconds / estimate(profile.times["call"]).value

"""The metrics of a case that are counted, not timed: base and head differ only if the code does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnnbench.store.metrics import METRICS, Metric


@dataclass(frozen=True)
class Change:
    """A metric that is not the same on both sides."""

    metric: Metric
    base: int
    head: int

    @property
    def is_judged(self) -> bool:
        """Whether it is a verdict by itself if it goes beyond the margin."""
        return self.metric.verdict == "judged"

    @property
    def ratio(self) -> float:
        """Head over base; infinite if the base is 0."""
        return self.head / self.base if self.base else float("inf")


def changes(base: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[Change, ...]:
    """The metrics that are known on both sides and differ."""
    return tuple(
        Change(metric, int(base[metric.name]), int(head[metric.name]))
        for metric in METRICS
        if metric.verdict
        and _is_known(base.get(metric.name))
        and _is_known(head.get(metric.name))
        and base[metric.name] != head[metric.name]
    )


def _is_known(value: Any) -> bool:
    """Whether a count is known; a frame holds NaN for a missing one."""
    return value is not None and value == value  # noqa: PLR0124 - NaN is not equal to itself

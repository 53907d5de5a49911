"""What is counted of a case rather than timed, so that base and head differ just where the code does."""

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
        """Whether it is a verdict by itself where it goes beyond the margin."""
        return self.metric.verdict == "judged"

    @property
    def ratio(self) -> float:
        """Head over base; infinite from nothing to something."""
        return self.head / self.base if self.base else float("inf")


def changes(base: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[Change, ...]:
    """The metrics that both sides know and do not agree on."""
    return tuple(
        Change(metric, int(base[metric.name]), int(head[metric.name]))
        for metric in METRICS
        if metric.verdict
        and _is_known(base.get(metric.name))
        and _is_known(head.get(metric.name))
        and base[metric.name] != head[metric.name]
    )


def _is_known(value: Any) -> bool:
    """Whether a count is there; a frame holds NaN for a missing one."""
    return value is not None and value == value  # noqa: PLR0124 - NaN is not equal to itself

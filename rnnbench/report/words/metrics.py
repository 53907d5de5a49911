"""The metrics of a run's cases: which are known, and why others are not. Works for any metric and names none."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from typing import Any

import pandas as pd

from rnnbench.report.words.axes import one_line
from rnnbench.store import metrics
from rnnbench.store.frames import missing_reasons
from rnnbench.store.metrics import Metric
from rnnbench.text import plural

TEXTS = ("backend", "bound_by")
UNOBSERVED = "this run did not observe them"
UNDERIVED = "they follow from what is not known"


def with_metrics(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with every metric as numbers. In an older run, missing metrics are NaN and missing texts empty."""
    frame = summary.copy()
    for metric in metrics.METRICS:
        values = frame[metric.name] if metric.name in frame else pd.Series(float("nan"), index=frame.index)
        frame[metric.name] = pd.to_numeric(values, errors="coerce").astype(float)
    for column in (*TEXTS, "missing"):
        texts = frame[column] if column in frame else pd.Series("", index=frame.index)
        frame[column] = [value if isinstance(value, str) else "" for value in texts]
    return frame


def of_calls() -> list[Metric]:
    """The metrics of a call, brief ones first. Leaves out those that describe a model, by torchinfo and by formula."""
    calls = (metric for metric in metrics.METRICS if metric.probe != "summary")
    return sorted(calls, key=lambda metric: not metric.is_brief)


def brief(phases: Container[str]) -> list[Metric]:
    """The metrics that are worth a column on a terminal, for a run of these phases."""
    return [metric for metric in metrics.METRICS if metric.is_brief or metric.brief_in in phases]


def known(frame: pd.DataFrame, among: Iterable[Metric]) -> list[Metric]:
    """The metrics that at least one case has a value of. `frame` comes from `with_metrics`."""
    return [metric for metric in among if frame[metric.name].notna().any()]


def not_known(frame: pd.DataFrame, among: Iterable[Metric]) -> str:
    """Say which metrics are missing for all measured cases or for some, and why. Each reason is given once."""
    measured = frame[frame["status"] == "measured"]
    devices = {str(device).partition(":")[0] for device in measured["device"]}
    nowhere: dict[str, list[str]] = {}
    partly: dict[str, list[str]] = {}
    for metric in among:
        if metric.device and metric.device not in devices:
            continue
        owners = (
            measured[measured["implementation"].isin(metric.implementations)] if metric.implementations else measured
        )
        lacking = owners[owners[metric.name].isna()]
        reasons = Counter[str]()
        for text, count in Counter(lacking["missing"]).items():  # most cases share a text
            if reason := missing_reasons(text).get(metric.name):
                reasons[reason] += count
        if len(lacking) and len(lacking) == len(owners):
            why = _said(reasons) or (UNOBSERVED if metric.probe else UNDERIVED)
            nowhere.setdefault(why, []).append(metric.label)
        elif reasons:
            partly.setdefault(_said(reasons), []).append(f"{metric.label} of {plural(reasons.total(), 'case')}")
    return " ".join([*_sentence("Not known", nowhere), *_sentence("Not known of some", partly)])


def _said(reasons: Counter[Any]) -> str:
    """The most frequent reason, and how many others there are."""
    if not reasons:
        return ""
    first = one_line(reasons.most_common(1)[0][0])
    others = len(reasons) - 1
    return f"{first}; and {plural(others, 'other reason')}" if others else first


def _sentence(start: str, groups: Mapping[str, list[str]]) -> list[str]:
    parts = (f"{', '.join(labels)} ({_numbered(why, len(labels))})" for why, labels in groups.items())
    return [f"{start}: {'; '.join(parts)}."] if groups else []


def _numbered(why: str, number: int) -> str:
    """The reason, with our own reasons in the singular if they apply to one metric."""
    singular = {UNOBSERVED: "this run did not observe it", UNDERIVED: "it follows from what is not known"}
    return singular.get(why, why) if number == 1 else why

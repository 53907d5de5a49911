"""Bencher's metric format, checked against its published schema (https://bencher.dev/bmf.json), restated here."""

import json
from dataclasses import replace

import pytest
from pydantic import BaseModel, ConfigDict, FiniteFloat, TypeAdapter, model_validator

from rnnbench.errors import UserError
from rnnbench.report.export import bencher

from .conftest import FAILED, HOISTED, LOOP, OPERATORS, REFERENCE, SKIPPED, WIDE, Run


class Metric(BaseModel):
    """A value with optional bounds."""

    model_config = ConfigDict(strict=True, extra="forbid")
    value: FiniteFloat
    lower_value: FiniteFloat | None = None
    upper_value: FiniteFloat | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "Metric":
        low = self.value if self.lower_value is None else self.lower_value
        high = self.value if self.upper_value is None else self.upper_value
        assert low <= self.value <= high
        return self


SCHEMA = TypeAdapter(dict[str, dict[str, Metric]])


def test_it_keeps_to_the_published_schema(run: Run) -> None:
    benchmarks = SCHEMA.validate_json(bencher.render(run.exported))
    assert set(benchmarks) == {case.key for case in (LOOP, HOISTED, REFERENCE, WIDE)}
    assert all(0 < len(name) <= 1024 for name in benchmarks)
    assert all(
        len(slug) <= 64 and slug == slug.lower() and "_" not in slug
        for measures in benchmarks.values()
        for slug in measures
    )


def test_times_are_nanoseconds_with_their_intervals_and_ratios_have_theirs(run: Run) -> None:
    measures = SCHEMA.validate_json(bencher.render(run.exported))[LOOP.key]
    row = run.row(LOOP)
    for measure, column, scale in (("latency", "seconds", 1e9), ("ratio", "ratio", 1.0)):
        metric = measures[measure]
        assert [metric.value, metric.lower_value, metric.upper_value] == [
            pytest.approx(scale * row[f"{column}{end}"]) for end in ("", "_low", "_high")
        ]
    assert measures["operators"].value == OPERATORS


def test_what_is_not_known_is_left_out_and_never_zero(run: Run) -> None:
    benchmarks = json.loads(bencher.render(run.exported))
    assert not {SKIPPED.key, FAILED.key} & set(benchmarks)
    assert "macs" not in benchmarks[LOOP.key]
    assert "ratio" not in benchmarks[WIDE.key]
    assert "ratio" not in benchmarks[REFERENCE.key]


def test_a_name_that_bencher_would_not_take_is_the_users_error(run: Run) -> None:
    long = run.summary.assign(case=lambda frame: frame["case"] + "x" * 1024)
    with pytest.raises(UserError, match="Bencher accepts at most 1,024"):
        bencher.render(replace(run.exported, summary=long))

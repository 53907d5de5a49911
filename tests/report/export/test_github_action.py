"""github-action-benchmark's custom JSON, checked against its documentation and its reader."""

import re

import pytest
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter

from rnnbench.report.export import github_action
from rnnbench.store.metrics import METRICS

from .conftest import FAILED, HOISTED, LOOP, OPERATORS, REFERENCE, SKIPPED, WIDE, Run

RANGE = re.compile(r"± \d+(\.\d+)?(e[+-]\d+)?")  # the action reads the number from it when it converts units


class Entry(BaseModel):
    """One named value."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: str = Field(min_length=1)
    unit: str = Field(min_length=1)
    value: FiniteFloat
    range: str | None = Field(default=None, pattern=RANGE.pattern)
    extra: str | None = None


SCHEMA = TypeAdapter(list[Entry])


def entries(run: Run) -> dict[str, Entry]:
    listed = SCHEMA.validate_json(github_action.render(run.frame, run.summary, run.info))
    by_name = {entry.name: entry for entry in listed}
    assert len(by_name) == len(listed), "the action finds last time's value by its name"
    return by_name


def test_it_is_what_the_action_reads(run: Run) -> None:
    by_name = entries(run)
    assert {name.partition(": ")[0] for name in by_name} == {case.key for case in (LOOP, HOISTED, REFERENCE, WIDE)}
    assert not any(case.key in name for name in by_name for case in (SKIPPED, FAILED))


def test_times_have_a_unit_that_the_action_knows_and_a_range_that_holds_the_interval(run: Run) -> None:
    entry, row = entries(run)[f"{LOOP.key}: time"], run.row(LOOP)
    low, high = (1e6 * row[column] for column in ("seconds_low", "seconds_high"))
    assert entry.unit == "us"
    assert entry.range is not None
    reach = float(entry.range.removeprefix("± "))
    assert entry.value - reach <= low * 1.00001
    assert entry.value + reach >= high * 0.99999
    assert entry.extra == f"95% interval {low:.6g} to {high:.6g} us\n5 replicates"


def test_the_ratio_is_to_the_layer_of_its_own_group_and_not_to_itself(run: Run) -> None:
    by_name = entries(run)
    assert by_name[f"{LOOP.key}: ratio"].unit == "times torch.nn.RNN"
    assert by_name[f"{LOOP.key}: ratio"].value == pytest.approx(run.row(LOOP)["ratio"])
    assert f"{REFERENCE.key}: ratio" not in by_name
    assert f"{WIDE.key}: ratio" not in by_name


def test_only_metrics_of_which_less_is_better_are_in_a_file_whose_smaller_is_better(run: Run) -> None:
    by_name = entries(run)
    assert by_name[f"{LOOP.key}: operator calls"].value == OPERATORS
    others = [metric.label for metric in METRICS if metric.better != "less"]
    assert others
    assert not any(name.endswith(f": {label}") for name in by_name for label in others)

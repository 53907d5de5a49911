"""github-action-benchmark's custom JSON, checked against its documentation and its reader."""

import re
from collections.abc import Sequence

import pytest
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter

from rnnbench.errors import UserError
from rnnbench.report.export import github_action
from rnnbench.report.words.case_names import case_name

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


def entries(run: Run, metrics: Sequence[str] = ("time", "ratio")) -> dict[str, Entry]:
    listed = SCHEMA.validate_json(github_action.render(run.exported, metrics))
    by_name = {entry.name: entry for entry in listed}
    assert len(by_name) == len(listed), "the action finds last time's value by its name"
    return by_name


def test_it_is_what_the_action_reads(run: Run) -> None:
    by_name = entries(run)
    assert {name.partition(": ")[0] for name in by_name} == set(map(case_name, (LOOP, HOISTED, REFERENCE, WIDE)))
    assert not any(case_name(case) in name for name in by_name for case in (SKIPPED, FAILED))


def test_times_have_a_unit_that_the_action_knows_and_a_range_that_holds_the_interval(run: Run) -> None:
    entry, row = entries(run)[f"{case_name(LOOP)}: time"], run.row(LOOP)
    low, high = (1e6 * row[column] for column in ("seconds_low", "seconds_high"))
    assert entry.unit == "us"
    assert entry.range is not None
    reach = float(entry.range.removeprefix("± "))
    assert entry.value - reach <= low * 1.00001
    assert entry.value + reach >= high * 0.99999
    assert entry.extra == f"95% interval {low:.6g} to {high:.6g} us\n5 replicates"


def test_the_ratio_is_to_the_layer_of_its_own_group_and_not_to_itself(run: Run) -> None:
    by_name = entries(run)
    assert by_name[f"{case_name(LOOP)}: ratio"].unit == "times torch.nn.RNN"
    assert by_name[f"{case_name(LOOP)}: ratio"].value == pytest.approx(run.row(LOOP)["ratio"])
    assert f"{case_name(REFERENCE)}: ratio" not in by_name
    assert f"{case_name(WIDE)}: ratio" not in by_name


def test_only_time_and_ratio_are_in_it_unless_others_are_chosen(run: Run) -> None:
    assert {name.rpartition(": ")[2] for name in entries(run)} == {"time", "ratio"}
    by_name = entries(run, ["operators"])
    assert {name.rpartition(": ")[2] for name in by_name} == {"operator calls"}
    assert by_name[f"{case_name(LOOP)}: operator calls"].value == OPERATORS


@pytest.mark.parametrize("name", ["operater", "macs_per_second", "gradient_factor"])
def test_what_it_can_not_hold_is_refused(run: Run, name: str) -> None:
    with pytest.raises(UserError, match=rf"metrics: no '{name}' of which less is better.*; there are time, ratio, par"):
        entries(run, [name])

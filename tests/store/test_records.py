"""Records come back from their JSON as they were, and say what is wrong with other content."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.errors import UserError
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.profiles import CATEGORIES, PARTS, Cause, Kernels, Operator, Products, Profile
from rnnbench.store.records import AXES, DEFAULTS, Case, Measurement, Workload
from tests.doubles import workload as small

sizes = st.integers(1, 10**6)
workloads = st.builds(
    Workload,
    reference=st.sampled_from(["rnn", "lstm", "gru"]),
    phase=st.sampled_from(["inference", "training", "step", "loading", "epoch"]),
    task=st.just("many_to_many"),
    **dict.fromkeys(("batch_size", "seq_len", "input_size", "hidden_size", "output_size", "num_layers"), sizes),
    dtype=st.sampled_from(["float64", "float32", "bfloat16", "float16"]),
    device=st.sampled_from(["cpu", "cuda", "cuda:1"]),
    threads=sizes,
    samples=st.just(0) | sizes,
    workers=st.just(0),
)
cases = st.builds(Case, st.text(min_size=1), st.sampled_from(["loop", "hoisted", "torch.nn"]), workloads)


@given(cases)
def test_a_case_comes_back_from_its_axes(case: Case) -> None:
    assert Case.from_axes(json.loads(json.dumps(case.axes()))) == case
    assert tuple(case.axes()) == AXES


@given(cases, cases)
def test_two_cases_share_a_key_only_if_they_are_one(first: Case, second: Case) -> None:
    assert (first.key == second.key) == (first == second)


names = st.sampled_from([metric.name for metric in OBSERVED])
values = st.integers(0, 2**63) | st.floats(0, 1e300)


@given(
    cases,
    st.sampled_from(["pending", "measured", "skipped", "failed"]),
    st.text(),
    st.dictionaries(names, values),
    st.dictionaries(names, st.text()),
)
def test_a_measurement_comes_back_from_its_line(case: Case, status, reason: str, metrics: Any, missing: Any) -> None:
    measurement = Measurement(case, status, reason, metrics=metrics, missing=missing)
    assert Measurement.from_json(json.loads(json.dumps(measurement.to_json()))) == measurement


def test_what_was_not_counted_is_not_known() -> None:
    known = Measurement(small.case("gru"), "measured", metrics={"parameters": 7})
    counted = replace(known, backend="aten", metrics={"parameters": 7, "macs": 1, "operators": 2})
    new = ("backend", "macs", "operators", "missing")
    assert Measurement.from_json(counted.to_json()) == counted
    assert Measurement.from_json({name: value for name, value in counted.to_json().items() if name not in new}) == known


def test_an_axis_is_in_the_key_only_with_another_value_than_its_default() -> None:
    case = small.case("gru")
    assert case.key.endswith(" device=cpu threads=1")
    assert Case.from_axes({axis: value for axis, value in case.axes().items() if axis not in DEFAULTS}) == case
    later = small.case("gru", bidirectional=True, dropout=0.5, num_layers=2, phase="epoch", samples=6)
    assert later.key.endswith(" device=cpu threads=1 bidirectional=true dropout=0.5 samples=6")
    assert Case.from_axes(later.axes()) == later


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"status": "done"}, "status: expected 'pending', 'measured', 'skipped' or 'failed', found 'done'"),
    ({"reference": 3}, "case.workload.reference: expected"),
    ({"batch_size": 0}, "case.workload.batch_size: expected 1 or more, found 0"),
    ({"parameters": "many"}, "metrics.parameters: expected a whole number"),
    ({"parity": 3}, "parity: expected a table, found 3"),
    ({"parity": {"kind": "maybe"}}, "parity.kind: expected 'unknown', 'agrees'"),
    ({"missing": {"macs": 3}}, "missing.macs: expected text, found 3"),
]


@pytest.mark.parametrize(("change", "words"), WRONG)
def test_a_wrong_value_is_told_with_what_would_be_right(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=f"^{words}"):
        Measurement.from_json(Measurement(small.case("gru"), "measured").to_json() | change)


OPERATORS = st.builds(
    Operator,
    st.text(),
    st.text(),
    st.sampled_from(list(CATEGORIES)),
    st.sampled_from(PARTS),
    st.integers(1, 99),
    st.integers(0, 99),
    st.just((1e-9, 2e-9)),
    st.just((0.0, 1e-9)),
)
PROFILES = st.builds(
    Profile,
    case=st.text(),
    reason=st.text(),
    times=st.just({"call": (1.0, 2.0), "forward": (0.5, 1.0)}),
    operators=st.lists(OPERATORS, max_size=3).map(tuple),
    causes=st.just((Cause("copy", "clone", 2, (1e-9, -1e-9)),)),
    products=st.none() | st.just(Products("MKL", 3, {"MKL": (1e-6,)}, {"packing": (0.0,)})),
    kernels=st.none() | st.just(Kernels(3, {"products": 1e-3})),
    files=st.dictionaries(st.text(), st.text(), max_size=2),
    notes=st.lists(st.text(), max_size=2).map(tuple),
)


@given(PROFILES)
def test_a_profile_comes_back_from_its_line_also_with_keys_of_a_newer_version(taken: Profile) -> None:
    line = json.loads(json.dumps(taken.to_json()))
    for entry in (line, *line["operators"], *line["causes"], *filter(None, [line["products"], line["kernels"]])):
        entry["of_a_newer_rnnbench"] = [1]
    assert Profile.from_json(line) == taken

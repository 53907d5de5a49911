import json
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rnnbench.store.metrics import OBSERVED
from rnnbench.store.records import AXES, DEFAULTS, Case, Measurement, Window, Workload
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
values = st.integers(0) | st.floats(0, allow_infinity=False)


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


def test_what_an_older_rnnbench_did_not_count_is_not_known() -> None:
    known = Measurement(small.case("gru"), "measured", metrics={"parameters": 7})
    counted = replace(known, backend="aten", metrics={"parameters": 7, "macs": 1, "operators": 2})
    new = ("backend", "macs", "operators", "missing")
    assert Measurement.from_json(counted.to_json()) == counted
    assert Measurement.from_json({name: value for name, value in counted.to_json().items() if name not in new}) == known


def test_a_windows_line_is_short_and_keeps_nanoseconds() -> None:
    window = Window("k", 0, "0000", 1, 4, 1 / 3, 7, 1, 0.0100000004, 0.01, 0.01, (1 / 3e4,), (1,), None)
    line = window.to_json()
    assert line["seconds"] == 0.01
    assert line["quantiles"] == [3.33333e-05]


def test_a_case_that_uses_no_later_axis_has_the_key_and_the_line_of_the_first_runs() -> None:
    case = small.case("gru")
    assert case.key.endswith(" device=cpu threads=1")
    assert Case.from_axes({axis: value for axis, value in case.axes().items() if axis not in DEFAULTS}) == case
    later = small.case("gru", bidirectional=True, dropout=0.5, num_layers=2, phase="epoch", samples=6)
    assert later.key.endswith(" device=cpu threads=1 bidirectional=true dropout=0.5 samples=6")
    assert Case.from_axes(later.axes()) == later


def test_the_layer_is_named_as_torch_names_it() -> None:
    assert small.workload(reference="gru").layer == "torch.nn.GRU"

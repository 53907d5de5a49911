"""rnnbench can read everything that it writes, whatever text came from a worker, a user's code or a file name."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rnnbench import load, summarize
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.folder import RunFolder, last_measurements, read_info, read_profiles
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.profiles import Profile
from rnnbench.store.records import Measurement, Status, Window
from rnnbench.store.run_info import RunInfo
from rnnbench.store.windows import read_windows
from tests.doubles import workload as small
from tests.doubles.ceilings import ceiling as made_up_ceiling
from tests.doubles.stored import INFO, window
from tests.profiling.profiles import cause, profile

CASE = small.case("vanilla")
texts = st.text(st.characters(exclude_categories=[]), max_size=8)  # lone surrogates included
numbers = (
    st.sampled_from([0, -1, 2**63, 10**30, 10**400, 10**4000, -(10**400), 1e308, 5e-324]) | st.floats() | st.integers()
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([metric.name for metric in OBSERVED])
measurements = st.builds(
    Measurement,
    st.just(CASE),
    st.sampled_from(get_args(Status)),
    **dict.fromkeys(("reason", "parity", "suspicion", "backend", "parity_error", "warmup_windows"), texts | anything),
    metrics=st.dictionaries(names, anything),
    missing=st.dictionaries(names | texts, texts | anything),
)
seconds = st.floats(1e-300, 1e300)
windows = st.builds(
    lambda drawn, turns: replace(drawn, turns=drawn.order + turns),
    st.builds(
        Window,
        case=st.just(CASE.key),
        worker=st.just("0000"),
        **dict.fromkeys(("replicate", "order"), st.integers(0, 2**60)),
        turns=st.just(1),
        **dict.fromkeys(("calls", "batch"), st.integers(1, 2**63 - 1)),
        started=st.floats(0, 1e300),
        **dict.fromkeys(("seconds", "host_seconds"), seconds),
        submit_seconds=st.floats(0, 1e300),
        quantiles=st.lists(seconds, min_size=1, max_size=3).map(tuple),
        cores=st.lists(st.integers(0, 999), max_size=3).map(tuple),
        clock_mhz=st.none() | st.floats(0, 1e300) | st.just(math.nan),
        device_uuid=st.none() | texts,
    ),
    st.integers(1, 9),
)
infos = st.builds(
    RunInfo,
    suite=st.just("test"),
    **dict.fromkeys(("description", "command", "started"), texts),
    resolved=st.dictionaries(texts, anything, max_size=3),
    environment=st.dictionaries(texts, anything, max_size=3),
    notes=st.lists(texts, max_size=3),
    ceilings=st.lists(
        st.builds(
            lambda rate: made_up_ceiling("cpu", "float32", 1, rate, ((1, 1.0),), 1e-6, None).to_json(),
            st.floats() | st.just(1e9),
        ),
        max_size=2,
    ),
)


def make_run(parent: Path) -> RunFolder:
    folder = RunFolder.create(parent, "test")
    folder.write_info(INFO)
    return folder


@given(measurements)
def test_any_measurement_is_read_as_it_was_kept(tmp_path_factory: pytest.TempPathFactory, known: Measurement) -> None:
    folder = make_run(tmp_path_factory.getbasetemp())
    kept = folder.add_measurement(known)
    folder.close()
    assert repr(last_measurements(folder.path)) == repr({CASE.key: kept})
    assert set(kept.metrics) | set(kept.missing) >= {name for name, value in known.metrics.items() if value is not None}
    assert not set(kept.metrics) & set(kept.missing) - set(known.missing)
    assert load(folder.path).cases["status"].tolist() == [known.status]


@settings(max_examples=20)
@given(windows)
@example(Window(CASE.key, 0, "0000", 0, 1, 0.0, 2**63 - 1, 1, 1.0, 1.0, 0.0, (1.0,), (), None))
def test_any_window_is_read_as_it_was_kept(tmp_path_factory: pytest.TempPathFactory, taken: Window) -> None:
    folder = make_run(tmp_path_factory.getbasetemp())
    folder.add_measurement(Measurement(CASE, "measured"))
    folder.add_window(taken)
    folder.close()
    [line] = read_windows(folder.path)
    assert (line["case"], line["calls"], line["turns"]) == (CASE.key, taken.calls, taken.turns)
    frame = load(folder.path).windows
    assert frame["seconds"].tolist() == [line["seconds"]]
    assert (frame["seconds"] > 0).all()
    summarize(frame)


@given(infos)
def test_any_run_json_is_read(tmp_path_factory: pytest.TempPathFactory, info: RunInfo) -> None:
    folder = make_run(tmp_path_factory.getbasetemp())
    for branch in (info.resolved, info.environment):
        for name in ("measure", "check", "machine", "worker", "software", "load"):  # rnnbench writes objects here
            branch.pop(name, None)
    folder.write_info(info)
    folder.close()
    read_back = read_info(folder.path)
    assert read_back.id == info.id
    assert len(read_back.notes) in (len(info.notes), len(info.notes) + 1)
    assert all(Ceiling.from_json(ceiling).macs_per_second > 0 for ceiling in read_back.ceilings)


@given(st.tuples(*[st.floats()] * 3), texts, texts)
def test_any_profile_is_read_or_has_failed_with_the_reason(
    tmp_path_factory: pytest.TempPathFactory, times: tuple[float, ...], what: str, note: str
) -> None:
    folder = make_run(tmp_path_factory.getbasetemp())
    good = profile(causes=(replace(cause(), what=what),))
    taken = replace(good, times={**good.times, "call": times}, notes=(note,))
    kept = folder.add_profile(taken)
    folder.close()
    assert read_profiles(folder.path) == {kept.case: kept}
    assert kept.works == all(1e-300 <= value <= 1e300 for value in times)
    assert kept.works or kept.reason.startswith("its profile can't be stored: times: expected ")


def test_a_metric_that_is_no_number_is_missing_with_its_value_as_the_reason(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    odd: dict[str, Any] = {"parameters": math.nan, "macs": 10**5000, "operators": ["many", 10**5000], "peak_bytes": 7}
    kept = folder.add_measurement(Measurement(CASE, "measured", metrics=odd))
    folder.close()
    assert kept.metrics == {"peak_bytes": 7}
    assert kept.missing == {
        "parameters": "its value is no number that can be stored: nan",
        "macs": "its value is no number that can be stored: a number that is too large",
        "operators": "its value is no number that can be stored: a value that is too large",
    }


def test_limits_that_are_no_numbers_are_left_out_and_said_so(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    good = made_up_ceiling("cpu", "float32", 1, 1e9, ((1, 1.0),), 1e-6, None).to_json()
    folder.write_info(replace(INFO, ceilings=[good, good | {"dispatch_seconds": math.inf}]))
    folder.close()
    info = read_info(folder.path)
    assert len(info.ceilings) == 1
    assert info.notes == ["limits of the machine left out, since they are no numbers: 1"]


def test_half_a_character_is_replaced_in_the_file_itself(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    folder.add_measurement(Measurement(CASE, "failed", "ValueError: \ud800"))
    folder.add_profile(Profile(CASE.key, "failed", "\udcff"))
    folder.add_sample({"\ud800": ["\udfff"]})
    folder.write_info(replace(INFO, command="rnnbench run caf\udce9.toml"))
    folder.close()
    files = sorted(file for file in folder.path.iterdir() if file.stat().st_size)
    assert len(files) == 4
    for file in files:
        for line in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            json.dumps(json.loads(line), ensure_ascii=False).encode()
    assert read_info(folder.path).command == "rnnbench run caf?.toml"


def test_a_window_of_a_call_that_takes_no_time_to_speak_of_keeps_it() -> None:
    line = replace(window(CASE, 0, [1e-12]), started=1e-12).to_json()
    assert line["quantiles"] == [1e-12]
    assert line["seconds"] == line["host_seconds"] == line["started"] == 1e-12

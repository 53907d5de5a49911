"""`rnnbench.load(...)`: frames that pandas can store, select, reshape and read back."""

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from syrupy.assertion import SnapshotAssertion

import rnnbench
from rnnbench.errors import UserError
from rnnbench.report.export import exported
from rnnbench.store.folder import RunFolder, read_info
from rnnbench.store.frames import STEP_COLUMNS, WINDOW_COLUMNS
from rnnbench.store.parity import AGREES
from rnnbench.store.records import Measurement
from tests.analysis.test_run_times import make_run
from tests.doubles import workload as small
from tests.doubles.screens import told
from tests.doubles.stored import ceiling as made_up_ceiling
from tests.doubles.stored import folder
from tests.report.test_notebook import measured

PAGE = Path(__file__).parents[2] / "docs" / "stored-runs.md"
SKIPPED = small.case("lstm", batch_size=9)
FRAMES = ("frame", "windows", "replicates", "steps", "environment")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with limits, metrics, a stream, a period, a skipped case, and a metric that could not be observed."""
    run_path = make_run(tmp_path_factory.mktemp("results"))
    run = RunFolder(run_path)
    ceiling = made_up_ceiling("cpu", "float64", 1, 1e9, ((1024, 1e9),), 1e-6, None).to_json()
    measure = {"measure": {"period_seconds": 1e-3}}
    run.write_info(replace(read_info(run_path), ceilings=[ceiling], resolved=measure))
    run.add_measurement(Measurement(SKIPPED, "skipped", "nothing =to hoist,\n'really'"))
    counted = small.case("vanilla", batch_size=1)
    metrics: dict[str, float] = {"macs": 1000, "parameters": 10, "operators": 67}
    missing = {"energy_joules": 'no "counter"'}
    run.add_measurement(Measurement(counted, "measured", parity=AGREES, metrics=metrics, missing=missing))
    run.close()
    return run_path


@pytest.fixture(scope="module")
def run(path: Path) -> Any:
    return rnnbench.load(path)


@pytest.mark.parametrize("name", FRAMES)
def test_every_frame_is_read_back_as_it_was(run: Any, tmp_path: Path, name: str) -> None:
    frame = getattr(run, name)
    frame.to_parquet(tmp_path / "f.parquet")
    back = pd.read_parquet(tmp_path / "f.parquet")
    assert type(frame) is pd.DataFrame
    assert isinstance(frame.index, pd.RangeIndex)
    assert [isinstance(kind, pd.CategoricalDtype) for kind in back.dtypes] == [
        isinstance(kind, pd.CategoricalDtype) for kind in frame.dtypes
    ]
    pd.testing.assert_frame_equal(back, frame, check_dtype=False, check_categorical=False)


@pytest.mark.parametrize(("to", "read"), [("parquet", pd.read_parquet), ("csv", pd.read_csv)])
def test_an_export_is_summarized_as_the_run_itself(path: Path, run: Any, to: str, read: Any) -> None:
    cases, windows = (read(io.BytesIO(exported(path, to, each)[0])) for each in (None, run.windows))
    assert_close(rnnbench.summarize(windows, cases=cases, steps=run.steps), run.frame)


def assert_close(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert sorted(found.columns) == sorted(expected.columns)
    for name in expected:
        one, other = found[name], expected[name]
        if other.dtype.kind in "fi":
            np.testing.assert_allclose(one.to_numpy(dtype=float), other.to_numpy(dtype=float), rtol=1e-9)
        else:
            texts = [column.astype(str).str.removeprefix("'").tolist() for column in (one, other)]
            assert texts[0] == texts[1], name


def test_windows_and_steps_belong_together(run: Any) -> None:
    streamed = run.windows[run.windows["task"] == "streaming"]
    assert len(run.steps) == streamed["calls"].sum()
    keys = ["run", "case", "replicate", "worker", "order"]
    first = run.steps.groupby(keys, observed=True)["seconds"].min()
    assert first.to_numpy() == pytest.approx(streamed.sort_values(keys)["quantile_0"].to_numpy())
    assert run.frame["latency_p50"].notna().sum() == 1


def test_every_column_is_described(run: Any) -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = {*WINDOW_COLUMNS, *STEP_COLUMNS, *run.frame.columns, *run.replicates.columns, *run.environment.columns}
    assert not sorted(name for name in named if f"`{name}`" not in text)


def test_several_runs_are_read_together_by_a_list_or_a_pattern(tmp_path: Path) -> None:
    paths = [
        folder(tmp_path, {small.case("vanilla"): [[factor]] * 3, small.reference_case(): [[1.0]] * 3})
        for factor in (2.0, 5.0)
    ]
    (tmp_path / "test-notes").mkdir()
    everywhere: list[Any] = [
        paths,
        [str(path) for path in paths],
        f"{tmp_path}/test-*",
        [paths[0], f"{tmp_path}/test-*"],
    ]
    for given in everywhere:
        both = rnnbench.load(given)
        assert sorted(both.names) == sorted(path.name for path in paths)
        assert sorted(both.frame["ratio"]) == pytest.approx([1.0, 1.0, 2.0, 5.0])
        assert both.windows.groupby("run", observed=True).size().tolist() == [6, 6]
        assert len(both.replicates) == 12
        assert set(both.environment["run"]) == set(both.names)
        assert all(name in repr(both) for name in both.names)


def test_the_error_of_stored_runs_is_exported() -> None:
    assert rnnbench.UserError is UserError
    with pytest.raises(rnnbench.UserError):
        rnnbench.load("no-such-folder")


def test_what_can_not_be_loaded_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        folder(Path(name), {small.case("vanilla"): [[1.0]]}).rename(f"{name}/same")
    for side in ("base", "head"):
        Path("check", side).mkdir(parents=True)
        Path("check", side, "run.json").write_text("{}")
    paths: list[Any] = ["none-*", "none", [], "?/same", "check"]
    messages = {str(path): told(partial(rnnbench.load, path), UserError) for path in paths}
    assert messages == snapshot


def test_frames_that_lack_something_are_told(run: Any, snapshot: SnapshotAssertion) -> None:
    windows = run.windows
    cases = run.frame
    steps = run.steps
    frames: dict[str, tuple[Any, ...]] = {
        "windows without turns": (windows.rename(columns={"turns": "turn"}), cases, steps),
        "windows of nothing but cases": (windows[["case"]],),
        "cases without a status": (windows, cases[["case", "run"]]),
        "a case too few": (windows, cases.iloc[1:], steps),
        "a case twice": (windows, pd.concat([cases, cases[:1]]), steps),
        "no steps": (windows, cases),
        "steps of nothing": (windows, cases, steps.iloc[:0]),
        "steps without an order": (windows, cases, steps.drop(columns="order")),
        "a series": (windows["seconds"],),
    }
    messages = {
        kind: told(partial(rnnbench.summarize, given, **dict(zip(("cases", "steps"), more, strict=False))), UserError)
        for kind, (given, *more) in frames.items()
    }
    assert messages == snapshot


def test_without_cases_times_and_ratios_are_known(run: Any) -> None:
    plain = run.windows[run.windows["task"] != "streaming"]
    found = rnnbench.summarize(plain).set_index("case")
    expected = run.frame.set_index("case").loc[found.index]
    assert found["ratio"].to_numpy() == pytest.approx(expected["ratio"].to_numpy())
    assert found["macs"].isna().all()


def test_a_result_says_its_answer_and_where_its_frames_are(run: Any) -> None:
    assert " comparisons, " in repr(run)
    assert ".frame, .windows" in repr(run)
    assert repr(run).index(" comparisons, ") < repr(run).index("95% interval") < repr(run).index(".frame, .windows")
    page = run._repr_html_()
    assert page.index(" comparisons, ") < page.index("<table")
    assert list(run.frame)[:3] == ["cell", "implementation", "phase"]
    assert {"batch_size", "seconds", "ratio", "ratio_low", "ratio_high", "parity"} <= set(list(run.frame)[:12])


def test_stored_runs_are_compared_by_their_folders(tmp_path: Path) -> None:
    base, head = (
        folder(tmp_path, {small.case("vanilla"): [[2.0]] * 4, small.reference_case(): [[1.0]] * 4}) for _ in range(2)
    )
    by_path = rnnbench.compare(base, str(head))
    loaded = rnnbench.compare(rnnbench.load(base), rnnbench.load(head))
    assert by_path.frame.equals(loaded.frame)
    assert "case=" not in repr(by_path)
    assert by_path._repr_html_().startswith("<p><b>")
    wide = rnnbench.compare(base, head, margin="25%")
    assert set(wide.frame["margin"]) == set(rnnbench.compare(base, head, margin=0.25).frame["margin"]) == {0.25}
    with pytest.raises(ValueError, match=r"^margin: '250%' must be between 0% and 100%"):
        rnnbench.compare(base, head, margin="250%")
    with pytest.raises(ValueError, match="head: expected 1 stored run, found 2"):
        rnnbench.compare(base, rnnbench.load([base, head]))
    with pytest.raises(ValueError, match=r"base: expected 1 stored run, found 0; rnnbench.measure compares live"):
        rnnbench.compare(measured(), head)

"""`rnnbench profile` end to end, and `rnnbench.explain` as users call it."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import rnnbench
from rnnbench.cli import cli
from rnnbench.cli.profile import REPORT_SHARE, RUN_SHARE, enough_budget
from rnnbench.errors import UserError
from rnnbench.harness.live.measuring import LivePhase
from rnnbench.profiling import run
from rnnbench.profiling.run import LEAST_PROFILE_SECONDS
from rnnbench.store.folder import read_info, read_profiles
from tests.doubles.unable import REASON, Cast
from tests.harness.live import INPUT, pair

SUITE = """
name = "tiny"
[measure]
replicates = 2
max_replicates = 2
windows = 2
window_seconds = 0.001
[[sweep]]
cell = ["mine.py:Mine", "mine.py:Shy"]
implementation = ["loop", "hoisted", "torch.nn"]
reference = "gru"
batch_size = 1
seq_len = 4
input_size = 3
hidden_size = 5
"""
CELLS = """
import torch
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode
class Mine(nn.GRUCell):
    def forward(self, input, h):
        return super().forward(input, h).clone()
class Shy(nn.GRUCell):
    def forward(self, input, h):
        if _get_current_dispatch_mode() is not None:
            raise ValueError("somebody is watching")
        return super().forward(input, h)
"""


def profile(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli, ["profile", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@given(st.floats(0.0, 1e4), st.integers(1, 500))
def test_the_budget_that_is_advised_leaves_time_for_each_profile(took: float, cases: int) -> None:
    budget = enough_budget(took, cases)
    left = (1 - REPORT_SHARE) * budget - max(RUN_SHARE * budget, took)
    assert left >= cases * LEAST_PROFILE_SECONDS * (1 - 1e-9)


def test_a_budget_without_time_for_a_profile_is_refused_with_a_larger_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.toml").write_text(SUITE)
    (tmp_path / "mine.py").write_text(CELLS)
    monkeypatch.setattr(run, "LEAST_PROFILE_SECONDS", 1e6)
    options = ("--budget", "20s", "--out", tmp_path / "out", "--only", "implementation=loop")
    words = r"no case was profiled within .* measuring took \d+ s; --budget \d+h is enough for 3 cases"
    with pytest.raises(UserError, match=words):
        profile(tmp_path / "tiny.toml", *options)


@pytest.mark.slow
def test_a_suite_is_measured_and_taken_apart_and_a_case_that_fails_keeps_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.toml").write_text(SUITE)
    (tmp_path / "mine.py").write_text(CELLS)
    monkeypatch.chdir(tmp_path)
    output = profile("tiny.toml")
    *_, folder, page = (tmp_path / line for line in output.strip().splitlines())
    assert "mine.py:Mine loop takes" in output
    assert "the time of torch.nn.GRU" in output
    in_one_line = " ".join(output.split())
    shy = "not profiled: mine.py:Shy loop inference: under the profiler: ValueError: somebody is watching (mine.py:11)"
    assert shy in in_one_line
    skipped = "not profiled: mine.py:Mine hoisted inference and mine.py:Shy hoisted inference: nothing to hoist"
    assert skipped in in_one_line
    words = output[output.index("mine.py:Mine in inference") :]
    assert max(map(len, words.splitlines()[:-2])) <= 100  # the last lines are paths
    profiles = {key.split(" ")[0]: case_profile for key, case_profile in read_profiles(folder).items()}
    assert [cause.kind for cause in profiles["cell=mine.py:Mine"].causes] == ["copy"]
    assert profiles["cell=mine.py:Mine"].causes[0].what == "clone (mine.py:7)"
    assert profiles["cell=torch.nn.GRU"].works
    assert read_info(folder).status == "finished"
    with gzip.open(folder / profiles["cell=mine.py:Mine"].files["trace"], "rt") as trace:
        assert json.load(trace)["traceEvents"]
    assert page == tmp_path / "reports" / folder.name / "index.html"
    assert "mine.py:Mine loop takes" in page.read_text()


@pytest.mark.slow
def test_what_json_prints_are_the_causes_the_cases_without_a_profile_and_both_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.toml").write_text(SUITE)
    (tmp_path / "mine.py").write_text(CELLS)
    monkeypatch.chdir(tmp_path)
    options = ["profile", "tiny.toml", "--only", "cell=mine.py:Mine", "--json"]
    done = CliRunner().invoke(cli, options, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert set(printed) == {"why", "not_profiled", "run", "page"}
    [(title, text)] = printed["why"].items()
    assert "mine.py:Mine in inference" in title
    assert "mine.py:Mine loop takes" in text
    [line] = printed["not_profiled"]
    assert line.startswith("not profiled: mine.py:Mine hoisted inference: nothing to hoist")
    assert read_info(tmp_path / printed["run"]).status == "finished"
    assert (tmp_path / printed["page"]).is_file()


@pytest.mark.usefixtures("one_thread", "short_turns")
@pytest.mark.parametrize("phase", ["inference", "training"])
def test_live_modules_are_explained_and_left_as_they_were(phase: LivePhase, tmp_path: Path) -> None:
    modules = pair()
    before = [parameter.detach().clone() for module in modules.values() for parameter in module.parameters()]
    explained = rnnbench.explain(modules, INPUT, phase=phase, folder=tmp_path, budget=60, progress=False)
    assert explained.reference == "torch"
    assert list(explained.gaps) == ["mine"]
    assert explained.words("mine").startswith("mine takes ")
    assert explained.words("mine") in explained.sentence
    assert set(explained.breakdown["case"]) == {"mine", "torch"}
    assert explained.operators.query("module == 'mine'")["calls"].sum() > 4
    assert explained.plot() is not None
    assert explained.plot("mine") is not None
    trace = explained.trace("mine")
    assert trace is not None
    assert trace.is_file()
    assert "<p><b>mine takes" in explained._repr_html_()
    after = [parameter for module in modules.values() for parameter in module.parameters()]
    assert all(map(torch.equal, before, after))
    assert all(parameter.grad is None for parameter in after)


@pytest.mark.usefixtures("one_thread", "short_turns")
def test_what_the_budget_of_an_explanation_has_no_room_for_is_not_begun_and_named() -> None:
    modules = {"mine": rnnbench.unroll(nn.LSTMCell(3, 5)), "torch": nn.LSTM(3, 5)}
    explained = rnnbench.explain(modules, torch.randn(400, 2, 3), phase="training", budget=0.1, progress=False)
    assert (explained.frame["seconds"] > 0).all()  # what was asked for first
    assert list(explained.profiles) == list(modules)
    assert "the budget had no room for all parts of the profile" in explained.profiles["mine"].notes[-1]
    assert not explained.profiles["mine"].operators
    assert explained.operators.query("module == 'mine'").empty
    assert "no room to time its operators" in explained.sentence + explained.note


@pytest.mark.usefixtures("one_thread", "short_turns")
def test_a_module_that_fails_under_the_profiler_has_its_reason() -> None:
    class Shy(nn.Module):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            if torch.overrides._is_torch_function_mode_enabled():  # type: ignore[attr-defined]
                raise ValueError("somebody is watching")
            return input.tanh()

    explained = rnnbench.explain(
        {"shy": Shy(), "tanh": torch.tanh},
        INPUT,
        reference="tanh",
        budget=0.2,
        progress=False,
    )
    assert not explained.profiles["shy"].works
    assert "not profiled: shy: profiling failed: ValueError: somebody is watching" in repr(explained)


@pytest.mark.usefixtures("one_thread", "short_turns")
def test_a_module_that_this_processor_can_not_run_is_left_out_of_an_explanation() -> None:
    modules = {"cast": Cast(3, 5), **pair()}
    explained = rnnbench.explain(modules, INPUT, reference="torch", budget=0.1, progress=False)
    assert f"cast is left out: {REASON}" in explained.note
    assert explained.words("mine")
    assert explained.frame["parity"]["cast"].startswith(REASON)

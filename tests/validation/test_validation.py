"""The arithmetic of the validation program, on data with known answers."""

import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnbench import load, suites, summarize
from rnnbench.expressions import parse_only
from rnnbench.store.folder import run_id
from rnnbench.store.records import Case, Window
from rnnbench.store.windows import read_windows
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.analysis.scaling import made_up
from tests.doubles import repository, stored
from tests.doubles import workload as small
from tests.validation import __main__ as program
from tests.validation import (
    against_r,
    bisect_simulated,
    gate,
    history_simulated,
    large_run,
    not_slower_simulated,
    real,
    scaling,
    simulation,
    stopping_simulated,
    verdicts,
    verdicts_simulated,
)
from tests.validation.faults import witness

pytestmark = pytest.mark.slow


def test_simulated_intervals_cover_the_truth_for_arms_of_very_different_length() -> None:
    table = simulation.coverage(runs=150, replicates=(6,), ratios=(1.0, 4.0))
    # 150 runs at 95%: fewer than 130 happen once in 10,000 tries.
    assert (table["used covers"] > 130 / 150).all()
    assert (table["bias"].abs() < 0.004).all()


def test_sizes_of_a_run_are_held_out_whole_and_every_form_is_judged_by_them(tmp_path: Path) -> None:
    table = scaling.held_out(made_up.stored(tmp_path)).set_index("held out")
    assert {"a point", "batch_size inside", "hidden_size inside", "hidden_size at an end, 2x beyond"} <= set(
        table.index
    )
    assert table["points"].to_dict() == {"a point": 27} | {
        f"{axis} {place}": 18 if place.startswith("at") else 9
        for axis, beyond in (("batch_size", 4), ("seq_len", 4), ("hidden_size", 2))
        for place in ("inside", f"at an end, {beyond}x beyond")
    }
    assert (table["median error"] < 1e-3).all()
    assert (table["median, steps"] > 0.05).all()


def test_the_truth_of_a_repeated_cell_takes_its_overhead_into_account(tmp_path: Path) -> None:
    step, overhead = 5e-6, 1e-4
    seconds = {"Steps0": overhead} | {
        name: steps * step + overhead for name, steps in {"Steps100": 100, **real.HEADS}.items()
    }
    rng = np.random.default_rng(0)
    times = {
        Case(f"repeated.py:{name}", "loop", small.workload()): [
            [value * math.exp(rng.normal(0, 1e-4))] for _ in range(6)
        ]
        for name, value in seconds.items()
    }
    table = real.intervals(real.times_of(stored.folder(tmp_path, times)))
    assert (table["error"].abs() < 5e-4).all()
    assert len(table) == len(real.HEADS)


@pytest.mark.parametrize("file", ["planted/planted.toml", "repeated.toml"])
def test_cells_that_take_many_steps_are_timed_without_being_compared(file: str) -> None:
    suite = suites.read(str(Path(__file__).parent / file))
    only = parse_only(["batch_size=16 phase=inference"])
    for group in suite.groups(only, None, most=None):
        for case in group.cases:
            if not case.is_reference:
                assert "weights_from = None" in observe(build(case, suite.file.parent)).parity


def test_the_commits_of_the_gate_change_what_they_say_and_their_cells_run(tmp_path: Path) -> None:
    repository.commit(tmp_path / "repo", gate.FIRST)
    for commit in gate.COMMITS:
        gate.make(tmp_path / "repo", commit)
    subjects = repository.git(tmp_path / "repo", "log", "--reverse", "--format=%s").splitlines()[1:]
    assert subjects == [commit.about for commit in gate.COMMITS]
    assert len(subjects) == 12
    repository.git(tmp_path / "repo", "checkout", "--quiet", "HEAD~1")  # the last one's cell fails
    suite = suites.read(str(tmp_path / "repo" / "speed.toml"))
    cells = [case.cell for group in suite.groups({}, None, most=None) for case in group.cases]
    assert set(cells) == set(gate.CELLS)
    code = "import torch; from tinycells import gated, leaky, paired\n" + "".join(
        f"assert {module}.{name}(3, 5)(torch.randn(2, 3), torch.zeros(2, 5)).shape == (2, 5)\n"
        for module, name in (("gated", "Gated"), ("leaky", "Leaky"), ("paired", "Paired"))
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "repo" / "src", check=True)


def test_a_check_of_the_gate_is_right_if_its_code_and_the_cells_it_names_are() -> None:
    slow = json.dumps({"cell": "tinycells.leaky:Leaky", "verdict": "regressed"})
    other = json.dumps({"cell": "tinycells.gated:Gated", "verdict": "regressed"})
    commit = gate.Commit("10% slower", {}, 1, "Leaky")
    for lines, code, right in (([slow], 1, "yes"), ([slow, other], 1, "no"), ([slow], 0, "no"), ([], 2, "no")):
        done = subprocess.CompletedProcess([], code, "\n".join(lines), "")
        assert gate._row(commit, done)["right"] == right


def test_an_unknown_table_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match="no table 'luck'; there are bias, "):
        program.main(["luck"])


def scatters_too_much(noise: verdicts_simulated.Noise) -> bool:
    """Whether the recorded pairs scatter so much that a minute can't find a slowdown of 10%."""
    return isinstance(noise, verdicts_simulated.RealPairs) and float(np.median(noise.low.std(axis=0))) > 0.03


def test_simulated_checks_find_a_large_slowdown_and_blame_nobody_else() -> None:
    table = verdicts_simulated.error_rates(suites=4)
    assert set(table["noise"]) == set(verdicts_simulated.NOISES | verdicts_simulated.MODES)
    by_truth = table.groupby("truth")
    slowed = by_truth.get_group("half 10%").set_index("noise")
    noisy = [name for name, noise in verdicts_simulated.NOISES.items() if scatters_too_much(noise)]
    assert (slowed.drop(noisy)["slower: regressed"] > 0.95).all()
    assert (slowed["slower: unchanged"] == 0).all()
    assert (by_truth.get_group("nothing differs")["unchanged: suites with a false alarm"] == 0).all()
    assert (table["median seconds"] <= 60).all()


def test_simulated_assertions_decide_what_is_clear_and_leave_the_rest_undecided() -> None:
    table = not_slower_simulated.error_rates(4, (1.0, 1.2, 1.5), ((1.4, 0.5),))
    assert table["not slower"].tolist() == [1, 0, 0, 0]
    assert table["undecided"].tolist() == [0, 1, 0, 0]
    assert table["slower"].tolist() == [0, 0, 1, 1]
    assert table["correlation of rounds"].tolist() == [0, 0, 0, 0.5]
    assert table["median seconds"].max() == pytest.approx(not_slower_simulated.BUDGET_SECONDS, rel=0.05)


def test_a_slowdown_is_put_into_the_heads_copy_alone(tmp_path: Path) -> None:
    verdicts.write_sides(tmp_path / "base", tmp_path / "head", {"GRUSlow": 0.05})
    base, head = (load_module(tmp_path / side / "planted.py") for side in ("base", "head"))
    steps = {
        name: [side.__dict__[name](3, 4).steps for side in (base, head)] for name in ("GRUSlow", "GRUSame", "LSTMSlow")
    }
    assert steps == {"GRUSlow": [98, 103], "GRUSame": [98, 98], "LSTMSlow": [98, 98]}
    verdicts.write_sides(tmp_path / "b", tmp_path / "h", {"GRUSlow": 0.05}, every_tenth=True)
    cell = load_module(tmp_path / "h" / "planted.py").GRUSlow(3, 4)
    assert (cell.steps, cell.every_tenth) == (98, 147)


def load_module(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"{file.parent.name}_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_that_was_never_measured_is_read_like_one_that_was(tmp_path: Path) -> None:
    suite = large_run.suite(batch_size=[1, 4], seq_len=[8], hidden_size=[16], cell=["gru"])
    slow = next(case for group in suite.groups({}, None, most=None) for case in group.cases if case.cell == "gru")
    path = large_run.write(tmp_path, suite, replicates=6, windows=4, seed=1, slower={slow.key: 1.5})
    lines = list(read_windows(path))
    assert len(lines) == 16 * 6 * 4
    assert {line.pop("run") for line in lines} == {run_id(path)}
    assert all(json.loads(json.dumps(Window.from_json(line).to_json())) == line for line in lines)
    row = summarize(load(path)).set_index("case")[["ratio_low", "ratio_high"]].to_dict("index")[slow.key]
    truth = 1.5 * large_run._seconds(slow) / large_run._seconds(reference_of(slow, suite))
    assert row["ratio_low"] * 0.99 < truth < row["ratio_high"] * 1.01


def test_simulated_trends_are_drifts_and_steps_are_not() -> None:
    table = history_simulated.trends(1).set_index(["shape", "size", "correlation of neighbours"])
    assert table["drift"]["trend over all runs", 0.1, 0] >= 0.8
    assert (table["drift"]["step in the middle"] == 0).all()
    assert table[["drift", "nothing", "dated step"]].sum(axis=1).tolist() == pytest.approx([1] * len(table))


def reference_of(case: Case, suite: suites.Suite) -> Case:
    groups = suite.groups({}, None, most=None)
    return next(member for group in groups if case in group.cases for member in group.cases if member.is_reference)


@pytest.mark.parametrize(("name", "fewest"), [("broken.md", 40), ("cheats.md", 7)])
def test_every_test_that_a_table_names_exists(name: str, fewest: int) -> None:
    repository = Path(__file__).parents[2]
    table = (repository / "results" / "validation" / name).read_text()
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_\w+)`", table)
    assert len(named) > fewest
    for file, test in named:
        assert f"def {test}(" in (repository / file).read_text(), f"{file}::{test}"


def test_the_witness_of_the_faults_still_finds_all_that_it_watches(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(witness.__file__)), "list", "suites"]
    result = subprocess.run(
        command, env=os.environ | {"WITNESS": str(tmp_path / "note")}, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("noise", ["skewed", stopping_simulated.REAL_NOISE, stopping_simulated.MODES])
def test_a_run_that_ends_at_its_precision_has_intervals_that_mostly_hold(noise: str) -> None:
    row = stopping_simulated.row(240, stopping_simulated.Kind(noise, "2%", cases=24, least=4))
    assert row["covered"] > 0.85
    assert 4 <= row["replicates"] < stopping_simulated.MOST
    assert row["half-width"] < 0.02


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_r_gives_the_same_values() -> None:
    packages = ["Rscript", "-e", "library(limma); library(robustbase)"]
    if subprocess.run(packages, capture_output=True, check=False).returncode:
        pytest.skip("R lacks limma or robustbase")
    table = against_r.against_r().set_index("formula")["largest difference"]
    qn = table.pop("Qn: robustbase::Qn")
    assert qn < 0.02  # R has newer factors for few values
    assert (table < 1e-9).all()


@pytest.mark.parametrize("seen", [True, False])
def test_simulated_bisections_name_the_slow_commit_and_no_other(seen: bool) -> None:
    row = bisect_simulated._row(5, "usual", "one", seen)
    assert (row["all named"], row["a wrong one named"]) == (1.0, 0.0)
    assert 0 < row["median seconds"] < bisect_simulated.BUDGET_SECONDS
    assert bisect_simulated._row(5, "heavy tails", "none", True)["a wrong one named"] == 0.0

"""The arithmetic of the validation program, on data with known answers."""

import json
import math
import random
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnnbench.analysis.estimate import Estimate
from rnnbench.store.records import Case
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import repository, stored
from tests.doubles import workload as small
from tests.validation import __main__ as program
from tests.validation import (
    bisect_simulated,
    checks_simulated,
    fastest_grid,
    fuzz,
    gate,
    handed_back,
    live_simulated,
    noise,
    not_slower_simulated,
    real,
    recordings,
    shared_simulated,
    simulation,
    split_simulated,
    stopping_simulated,
    verdicts,
    verdicts_simulated,
)
from tests.validation.faults.command import Command
from tests.validation.shared_simulated import SHARINGS

pytestmark = [pytest.mark.slow, pytest.mark.weekly]


def test_simulated_intervals_cover_the_truth_for_arms_of_very_different_length() -> None:
    table = simulation.coverage(runs=150, replicates=(6,), ratios=(1.0, 4.0))
    # 300 runs at 95%: fewer than 277 come about once in 60 tries; at 90%, so many do in one of ten.
    assert (table["covers"] * table["runs"]).sum() >= 277
    assert (table["bias"].abs() < 0.004).all()


def test_undisturbed_intervals_hold_the_ratio_of_a_quiet_core_where_those_of_all_blocks_do_not() -> None:
    """Of 24 intervals at 97%, fewer than 22 hold the truth once in 30 tries; at 80%, so many do in one of nine."""
    sharing = shared_simulated.SHARINGS["quiet 20-50% of a visit"]
    rng = random.Random(3)
    cases = pd.concat([shared_simulated.one_run(sharing, 6, rng) for _ in range(2)])
    assert cases["is undisturbed"].all()
    assert cases["covered"].sum() >= 22
    assert cases["covered by all blocks"].mean() < 0.7


def test_a_core_that_is_always_shared_is_never_called_undisturbed() -> None:
    cases = shared_simulated.one_run(shared_simulated.SHARINGS["always shared"], 2, random.Random(3))
    assert not cases["is undisturbed"].any()


def test_simulated_checks_on_a_shared_core_call_equal_code_unchanged_and_find_what_is_slower() -> None:
    sharing = shared_simulated.SHARINGS["quiet 20-50% of a visit"]
    pool = checks_simulated.centred(
        checks_simulated.pool_of(sharing, shared_simulated.NONE, "test", 4, 12), is_equal=True
    )
    change, rng = checks_simulated.CHANGES["a definition 10% slower"], np.random.default_rng(3)
    judged, pairs, seconds = checks_simulated.one_check(rng, pool, pool, change, 60.0, checks_simulated.USUAL)
    words = [each.verdict for each in judged]
    assert words[: checks_simulated.FAMILY] == ["regressed"] * checks_simulated.FAMILY
    assert "regressed" not in words[checks_simulated.FAMILY :]
    assert seconds <= 60
    assert min(pairs) >= 5
    assert len(words) - words.count("undecided") >= 10


def test_simulated_calls_that_are_sometimes_slower_show_in_the_mean_and_hardly_in_the_low_quantile() -> None:
    sharing, some = shared_simulated.SHARINGS["always quiet"], shared_simulated.SomeCalls(0.1, 1.5)
    [pairs] = checks_simulated.pool_of(sharing, some, "test", 1, 8)
    assert np.mean([each.quiet_mean for each in pairs]) == pytest.approx(math.log(1.05), abs=0.02)
    assert abs(np.mean([each.quiet_low for each in pairs])) < 0.01


def test_halves_of_a_recorded_visit_show_how_far_equal_code_differs(tmp_path: Path) -> None:
    """Every tenth quiet block takes ten times as long: the mean scatters, and the low quantile does not."""
    rng, size = np.random.default_rng(1), 4000
    number = np.arange(size)
    case = number % 2
    seconds = 1e-4 * (1 + case) * np.exp(rng.normal(0, 0.005, size)) * np.where(rng.random(size) < 0.1, 10, 1)
    pulse = np.where(rng.random(size) < 0.3, 14e-6, 8e-6)  # shared in three of ten moments
    seconds = np.where(pulse > 1e-5, 2 * seconds, seconds)
    names = ["cell=rnn implementation=torch.nn", "cell=vanilla implementation=loop"]
    np.savez(
        tmp_path / "made.npz",
        cases=names,
        seconds=seconds,
        pulse_before=pulse,
        pulse_after=np.roll(pulse, -2),
        visit=number // 500,
        round=number // 2 % 50,
        case=case,
    )
    [row] = recordings.deviations([tmp_path / "made.npz"]).to_dict("records")
    assert (row["visits"], row["halves"]) == (8, 16)
    assert row["halves: low"] < 0.005
    assert row["undisturbed"] < 0.005
    assert row["halves: low"] < 0.1 * row["halves: mean"]


def test_intervals_that_hold_are_counted_among_those_that_there_are() -> None:
    known, unknown = Estimate(1.0, 0.9, 1.1), Estimate(1.0, math.nan, math.nan)
    assert verdicts_simulated.share_held([(known, 0.0), (known, 1.0), (unknown, 0.0)]) == 0.5
    assert math.isnan(verdicts_simulated.share_held([(unknown, 0.0)]))


def test_recorded_noise_is_read_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(noise.real_pairs()) == 4
    assert stopping_simulated.REAL.is_dir()


def test_a_short_call_is_undisturbed_beside_its_reference_alone_where_it_is_not_beside_a_long_call() -> None:
    sharing = shared_simulated.SHARINGS["quiet 10-30% of a visit, bouts of 3 ms"]
    whole, split = (
        split_simulated.one_run(sharing, 4e-3, "3", may_split=may_split).set_index("case").loc["short"]
        for may_split in (False, True)
    )
    assert not whole["is undisturbed"]
    assert split["is undisturbed"]
    assert abs(split["error"]) < 0.03


def test_live_intervals_hold_the_ratio_of_a_quiet_core_where_those_of_all_blocks_do_not() -> None:
    """Of 16 intervals at 99%, fewer than 15 hold the truth once in 90 tries; at 80%, so many do in one of seven."""
    rng = random.Random(4)
    taken = [live_simulated.measured(SHARINGS["quiet 20-80% of a run"], 0.0, 20, rng) for _ in range(4)]
    cases = pd.concat([live_simulated.covered(times, 20) for times in taken])
    assert cases["undisturbed"].all()
    assert cases["covered"].sum() >= 15
    assert cases["covered by all blocks"].mean() < 0.8
    always = live_simulated.covered(live_simulated.measured(SHARINGS["always shared"], 0.0, 3, rng), 3)
    assert not always["undisturbed"].any()


def test_assertions_on_a_shared_core_decide_what_is_clear_by_quiet_blocks() -> None:
    sharings = {name: SHARINGS[name] for name in ("quiet 50-90% of a visit", "always shared")}
    table = live_simulated.answers(2, (1.0, 1.3), sharings)
    is_shared, is_equal = table["the core is"].eq("always shared"), table["true ratio"].eq(1.0)
    assert table.loc[~is_shared, "undisturbed"].tolist() == [1.0] * 4
    assert table.loc[is_shared, "undisturbed"].tolist() == [0.0] * 4
    assert table.loc[~is_shared & is_equal, "slower"].tolist() == [0.0, 0.0]
    assert table.loc[~is_equal, "slower"].tolist() == [1.0] * 4
    suffers = table["sharing slows both"].eq("mine suffers more")
    assert table.loc[is_shared & is_equal & suffers, "of these on a shared core"].tolist() == [1.0]  # and it says so


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
    for group in suite.groups(only, None):
        for case in group.cases:
            if not case.is_reference:
                assert "weights_from = None" in str(observe(build(case, suite.file.parent)).parity)


def test_the_commits_of_the_gate_change_what_they_say_and_their_cells_run(tmp_path: Path) -> None:
    repository.commit(tmp_path / "repo", gate.FIRST)
    for commit in gate.COMMITS:
        gate.make(tmp_path / "repo", commit)
    subjects = repository.git(tmp_path / "repo", "log", "--reverse", "--format=%s").splitlines()[1:]
    assert subjects == [commit.about for commit in gate.COMMITS]
    assert len(subjects) == 12
    repository.git(tmp_path / "repo", "checkout", "--quiet", "HEAD~1")  # the last one's cell fails
    suite = suites.read(str(tmp_path / "repo" / "speed.toml"))
    cells = [case.cell for group in suite.groups({}, None) for case in group.cases]
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
    said = [([slow], 1), ([slow, other], 1), ([slow], 0), ([], 2), ([slow], 1)]
    row = gate.row(commit, [gate.Checked(code, "\n".join(lines), "") for lines, code in said])
    assert (row["checks"], row["right"]) == (5, 2)
    assert row["others said"] == "1 x 1: Gated, Leaky; 1 x 0: Leaky; 1 x 2"


def test_an_unknown_table_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match="no table 'luck'; there are simulated-coverage, "):
        program.main(["luck"])


def test_a_witness_watches_methods_that_there_are(tmp_path: Path) -> None:
    """It names them as text, so a method that is renamed would be noticed only when faults are tried."""
    assert Command(tmp_path, "--version", witness=tmp_path / "witness").end() == (0, "")


def scatters_too_much(shape: noise.Noise) -> bool:
    """Whether the recorded pairs scatter so much that a minute can't find a slowdown of 10%."""
    return isinstance(shape, noise.RealPairs) and float(np.median(shape.low.std(axis=0))) > 0.03


def test_simulated_checks_find_a_large_slowdown_and_blame_nobody_else() -> None:
    table = verdicts_simulated.error_rates(suites=1)
    assert set(table["noise"]) == set(noise.NOISES | noise.MODES)
    by_truth = table.groupby("truth")
    slowed = by_truth.get_group("half 10%").set_index("noise")
    noisy = [name for name, shape in noise.NOISES.items() if scatters_too_much(shape)]
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
    base, head = (runpy.run_path(str(tmp_path / side / "planted.py")) for side in ("base", "head"))
    numbers = {
        name: [side[name](3, 4).number() for side in (base, head)] for name in ("GRUSlow", "GRUSame", "LSTMSlow")
    }
    assert numbers == {"GRUSlow": [98, 103], "GRUSame": [98, 98], "LSTMSlow": [98, 98]}


@pytest.mark.parametrize(
    ("kind", "least"), [("skewed", 0.94), (stopping_simulated.REAL_NOISE, 0.92), (stopping_simulated.MODES, 0.87)]
)
def test_a_run_that_ends_at_its_precision_has_intervals_that_mostly_hold(kind: str, least: float) -> None:
    """Of 240 intervals; those of the cases with two modes, a quarter of all, hold less often."""
    row = stopping_simulated.row(240, stopping_simulated.Kind(kind, "2%", cases=24, least=4))
    assert row["covered"] > least
    assert 4 <= row["replicates"] < stopping_simulated.MOST
    assert row["half-width"] < 0.02


@pytest.mark.parametrize("seen", [True, False])
def test_simulated_bisections_name_the_slow_commit_and_no_other(seen: bool) -> None:
    row = bisect_simulated._row(5, "usual", "one", seen)
    assert (row["all named"], row["a wrong one named"]) == (1.0, 0.0)
    assert 0 < row["median seconds"] < bisect_simulated.BUDGET_SECONDS
    assert bisect_simulated._row(5, "heavy tails", "none", True)["a wrong one named"] == 0.0


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_what_strangers_give_is_read_or_refused_in_words(name: str) -> None:
    done = fuzz.try_inputs(name, 150 if name in ("suite files", "--only expressions") else 40, 0)
    assert done["faults"] == {}
    assert done["tried"] > 30
    assert min(done["read"], done["refused in words"]) > 0


def test_a_share_of_the_grid_of_lstms_is_clocked() -> None:
    places = [fastest_grid.Place("LSTM", 4, 2, steps, 1, "training", 2, True) for steps in (3, 4)]
    table = fastest_grid.training(0.5, places, budget=0.2, blocks=3)
    [row, last] = fastest_grid.summary(table).to_dict("records")
    assert row["low"] <= row["ratio"] <= row["high"]
    assert row["way"] in ("as given", "hoisted", "fused")
    assert "of 1 at most 0.9" in last["module"]
    assert (len(fastest_grid.LSTMS), len(fastest_grid.GRUS_AND_RNNS), len(fastest_grid.TRAINING)) == (72, 144, 48)


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_what_is_handed_back_is_clocked_against_what_was_given(phase: str) -> None:
    table = handed_back.searches(("RNN",), ((4, 2),), (phase,), steps=3, budget=0.2, blocks=3)
    [row] = table.to_dict("records")
    assert row["quiet"] > 0
    assert row["spent"] > 0
    assert not row["sure"]  # nothing was compiled in this time
    assert row["left out"] == "compiled, prepacked"
    assert len(handed_back.summary(table)) == 2

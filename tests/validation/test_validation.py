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
import pandas as pd
import pytest
import torch

from rnnbench import load, suites, summarize
from rnnbench.expressions import parse_only
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.folder import run_id
from rnnbench.store.records import Case, Window
from rnnbench.store.windows import read_windows
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.analysis.scaling import made_up
from tests.doubles import stored
from tests.doubles import workload as small
from tests.validation import __main__ as program
from tests.validation import (
    against_r,
    bisect_real,
    bisect_simulated,
    cases,
    fleet,
    history_simulated,
    instructions,
    large_run,
    limits,
    not_slower_simulated,
    pairs,
    pytest_door,
    real,
    report_scale,
    scaling,
    simulation,
    stopping_simulated,
    verdict_peer_cases,
    verdict_peers,
    verdicts,
    verdicts_simulated,
)
from tests.validation.faults import witness


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


def repeated(name: str) -> Case:
    return Case(f"repeated.py:{name}", "loop", small.workload())


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


def test_blocks_are_compared_by_the_time_that_a_case_takes_at_best(tmp_path: Path) -> None:
    best = {"Steps0": 1e-9, "Steps100": 2e-3, "Steps400": 4e-3, "Steps102": 1e-3}
    times = {
        Case(f"repeated.py:{cell}", "loop", small.workload()): [[seconds, 1.0], [2 * seconds]]
        for cell, seconds in best.items()
    }
    assert real.block_ratios(stored.counted_windows(stored.folder(tmp_path, times))).tolist() == pytest.approx(
        [4.0, 4.0]
    )


def test_the_coverage_of_several_runs_is_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"Steps0": 0, "Steps100": 100, **real.HEADS}
    noise = np.random.default_rng(0)
    times = {
        repeated(name): [[(1e-4 + 5e-6 * count) * math.exp(noise.normal(0, 1e-3))] for _ in range(6)]
        for name, count in steps.items()
    }
    path = stored.folder(tmp_path, times)
    monkeypatch.setattr(real, "one_run", lambda: (real.times_of(path), stored.counted_windows(path)))
    table = real.coverage(2).set_index("steps over base")
    assert table.loc["all", "intervals"] == 2 * len(real.HEADS)
    assert table["groups with blocks within 1.5"].notna().tolist() == [False] * len(real.HEADS) + [True]


def test_the_repeated_cells_are_a_valid_suite_with_one_group_for_each_size() -> None:
    groups = suites.read(str(real.SUITE)).groups({}, None, most=None)
    assert [len(group.cases) for group in groups] == [7] * 6


@pytest.mark.parametrize("file", ["planted/planted.toml", "repeated.toml"])
def test_cells_that_take_many_steps_are_timed_without_being_compared(file: str) -> None:
    suite = suites.read(str(Path(__file__).parent / file))
    only = parse_only(["batch_size=16 phase=inference"])
    for group in suite.groups(only, None, most=None):
        for case in group.cases:
            if not case.is_reference:
                assert "weights_from = None" in observe(build(case, suite.file.parent)).parity


def test_twelve_cases_and_four_pairs_are_chosen_from_quick() -> None:
    assert len(cases.chosen()) == 12
    assert all(own.workload == reference.workload for own, reference in cases.pairs())
    assert len(cases.pairs()) == 4


def test_a_table_is_written_in_markdown() -> None:
    table = pd.DataFrame({"a": [1.23456], "b": ["x"]})
    assert program.markdown(table) == "| a | b |\n| --- | --- |\n| 1.235 | x |\n"


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


def test_intervals_of_correlated_rounds_are_wider_and_hold_the_truth_more_often() -> None:
    table = not_slower_simulated.intervals(40).set_index(["correlation of rounds", "rounds"])
    gained = table["covered"] - table["for independent rounds, covered"]
    assert (gained >= 0).all()
    assert gained[0.8, 60] > 0.2
    assert (table["wider, median"] >= 1).all()


def test_pairs_that_share_their_noise_are_told_from_those_that_do_not() -> None:
    rng = np.random.default_rng(0)
    common, own = rng.standard_normal((60, 1)), rng.standard_normal((60, 24))
    kinds = {"alone": own, "shared": 0.8**0.5 * common + 0.2**0.5 * own}
    frames = [
        pd.DataFrame(values * 0.01)
        .melt(ignore_index=False, var_name="case", value_name="low")
        .reset_index(names="pair")
        .assign(session=name, processor="a", beside="nothing", seconds=4.5, mean=lambda frame: frame["low"])
        for name, values in kinds.items()
    ]
    table = pairs.summary(pd.concat(frames)).set_index("session")
    assert table["pairs"].tolist() == [60, 60]
    assert table["seconds of a pair"].tolist() == [4.5, 4.5]
    assert table["low: spread of the median case"].tolist() == pytest.approx([0.01, 0.01], rel=0.2)
    assert table["low: shared by a pair's cases"].tolist() == pytest.approx([0.0, 0.8], abs=0.05)


def test_the_pytest_door_is_given_the_cases_of_the_four_pairs() -> None:
    groups = suites.read("quick").groups(parse_only([pytest_door.ONLY]), None, most=None)
    assert {case for group in groups for case in group.cases} == {case for pair in cases.pairs() for case in pair}


def test_what_a_door_costs_is_what_it_takes_beside_its_windows() -> None:
    costs = {
        "run": [pytest_door.Cost(10.0, 4.0, {"a": 1.0, "b": 2.0}), pytest_door.Cost(12.0, 4.0, {"a": 1.0, "b": 2.0})],
        "pytest": [pytest_door.Cost(6.0, 4.0, {"a": 1.1, "b": 2.0}), pytest_door.Cost(8.0, 4.0, {"a": 1.0, "b": 1.8})],
    }
    run, door = pytest_door.table(costs).to_dict("records")
    assert (run["seconds beside them"], run["beside them, each case"], run["highest"]) == (7.0, 3.5, 1.0)
    assert (door["wall seconds"], door["seconds beside them"], door["time of a call against run"]) == (7.0, 3.0, 1.0)
    assert (door["lowest"], door["highest"]) == pytest.approx((0.9, 1.1))


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


def test_the_planted_suite_has_24_cases_of_which_half_can_be_slowed() -> None:
    names = list(verdict_peer_cases.cases())
    assert len(names) == 24
    assert sum(name.split()[0] in verdicts.CELLS for name in names) == 12


def test_rates_count_suites_with_false_alarms_and_cases_by_slowdown() -> None:
    rows = [
        {"kind": "slowed", "budget": 60.0, "suite": suite, "seconds": 50.0, "slowdown": slowdown, "verdict": verdict}
        | {"case": case, "replicates": 9, "ratio": 1.0, "mean_ratio": 1.0}
        for suite, slowdown, verdict, case in [
            (0, 0.0, "unchanged", "a"),
            (0, 0.0, "regressed", "b"),
            (1, 0.0, "unchanged", "a"),
            (1, 0.05, "regressed", "c"),
        ]
    ]
    same, slowed = verdicts.rates(pd.DataFrame(rows)).to_dict("records")
    assert (same["cases"], same["unchanged"], same["suites with a false alarm"]) == (3, 2, "1")
    assert (slowed["slowdown"], slowed["regressed"], slowed["suites with a false alarm"]) == ("5%", 1, "")


def test_rates_of_peers_count_what_each_rule_flags() -> None:
    rows = [
        {"rule": "min:5%", "suite": 0, "seconds": 100.0, "case": case, "slower": slower, "slowdown": slowdown}
        for case, slower, slowdown in [("a", True, 0.0), ("b", False, 0.0), ("c", True, 0.05), ("d", False, 0.05)]
    ]
    (row,) = verdict_peers.rates(pd.DataFrame(rows)).to_dict("records")
    assert row["unchanged, called slower"] == "1 of 2"
    assert row["5% slower"] == "1 of 2"
    assert row["suites with a false alarm"] == "1 of 1"


def load_module(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"{file.parent.name}_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_jobs_go_to_the_machine_that_is_free_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "SPEED_SPREAD", 0.0)
    dealt = fleet.deal([3.0, 1.0, 1.0, 1.0, 3.0], 0.5, 2, np.random.default_rng(0))
    assert dealt == fleet.Fleet(seconds=6.0, busy=9.0, died=0, lost=0.0)


def test_a_job_whose_machine_dies_pays_its_start_again_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "SPEED_SPREAD", 0.0)
    monkeypatch.setattr(fleet, "DAYS_BETWEEN_FAILURES", 1.0)
    dealt = fleet.deal([fleet.DAY] * 1000, 60.0, 10, np.random.default_rng(0))
    assert 850 < dealt.died < 1150  # Poisson, on average one for each job
    assert dealt.lost == pytest.approx(60.0 * dealt.died)
    assert dealt.busy == pytest.approx(1000 * fleet.DAY + dealt.lost)


def test_replicates_until_a_precision_follow_the_width_of_the_interval() -> None:
    replicates, width = np.array([10, 10, 10, 4]), np.array([0.02, 0.001, 1.0, 0.021])
    needed = fleet.replicates_until(0.02, replicates, width)
    assert needed.tolist() == [10, 10, fleet.MAX_REPLICATES, 5]


def test_what_cases_cost_is_read_off_a_run() -> None:
    of = fleet.costs(fleet.RUN)
    assert 0 < of.window_seconds < of.visit_seconds
    assert of.visit_bytes > 1000
    assert (of.precise >= of.replicates).all()


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


def test_the_whole_suite_has_twenty_thousand_cases() -> None:
    groups = large_run.suite().groups({}, None, most=None)
    count = sum(len(group.cases) for group in groups)
    assert count == 20_160
    assert count * report_scale.REPLICATES * report_scale.WINDOWS >= 1_000_000


def test_a_command_is_measured_by_what_it_took_of_the_machine() -> None:
    row = report_scale.measured(["--help"])
    assert row["processor seconds"] > 0
    assert 0.001 < row["peak GB"] < 2
    with pytest.raises(subprocess.CalledProcessError):
        report_scale.measured(["report", "no such run"])


def test_simulated_histories_have_a_row_for_each_length_and_step() -> None:
    table = history_simulated.error_rates(1, cases=10, lengths=(6,))
    kinds = len(history_simulated.CORRELATIONS)
    assert table["step"].tolist() == [0.0, 0.03, 0.05, 0.10] * kinds
    assert table["lines with a step"].dropna().tolist() == [1, 1, 1] * kinds


def test_simulated_histories_of_few_cases_have_flat_lines_and_early_steps() -> None:
    table = history_simulated.few_cases(3)
    assert (table["cases"] * table["step"].eq(0)).max() == max(history_simulated.FEW)
    assert set(table["runs after the step"].dropna()) == {3, 5, 10}
    assert (table.loc[table["step"].eq(0), "flat lines"] >= 3).all()


def test_simulated_trends_are_drifts_and_steps_are_not() -> None:
    table = history_simulated.trends(1).set_index(["shape", "size", "correlation of neighbours"])
    assert table["drift"]["trend over all runs", 0.1, 0] >= 0.8
    assert (table["drift"]["step in the middle"] == 0).all()
    assert table[["drift", "nothing", "dated step"]].sum(axis=1).tolist() == pytest.approx([1] * len(table))


def reference_of(case: Case, suite: suites.Suite) -> Case:
    groups = suite.groups({}, None, most=None)
    return next(member for group in groups if case in group.cases for member in group.cases if member.is_reference)


@pytest.mark.parametrize(("name", "fewest"), [("broken.md", 40), ("cheats.md", 10)])
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


def test_rates_are_compared_with_those_that_likwid_bench_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "likwid-bench"
    program.write_text("#!/bin/sh\necho 'MFlops/s:\t\t69336.81'\necho 'MByte/s:\t\t9244.91'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(limits, "TRIES", 1)
    monkeypatch.setattr(limits, "SECONDS", 0.001)
    table = limits.limits()
    assert table["likwid-bench"].tolist() == pytest.approx([69.33681 / 2] * 2 + [9.24491] * 3)
    assert (table["rnnbench"] > 1).all()


def test_without_likwid_bench_nothing_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="Debian's package is `likwid`"):
        limits.limits()


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R is not installed")
def test_r_gives_the_same_values() -> None:
    packages = ["Rscript", "-e", "library(limma); library(robustbase)"]
    if subprocess.run(packages, capture_output=True, check=False).returncode:
        pytest.skip("R lacks limma or robustbase")
    table = against_r.against_r().set_index("formula")["largest difference"]
    qn = table.pop("Qn: robustbase::Qn")
    assert qn < 0.02  # R has newer factors for few values
    assert (table < 1e-9).all()


def test_without_r_nothing_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="Rscript is not installed"):
        against_r.against_r()


@pytest.mark.parametrize(("seconds", "counted"), [(9.5, 9.5), (None, verdicts_simulated.PAIR_SECONDS)])
def test_real_pairs_are_drawn_whole_with_either_sign(tmp_path: Path, seconds: float | None, counted: float) -> None:
    assert verdicts_simulated.real_pairs(tmp_path / "none.csv") == {}
    rows = [
        {"session": "a", "processor": "b", "beside": "c", "pair": pair, "case": case, "low": pair + 1, "mean": -case}
        for pair in range(3)
        for case in range(verdicts_simulated.CASES)
    ]
    pd.DataFrame(rows).assign(seconds=seconds).to_csv(tmp_path / "pairs.csv", index=False)
    [(name, noise)] = verdicts_simulated.real_pairs(tmp_path / "pairs.csv").items()
    assert name == "3 real pairs: a, b, c"
    assert noise.pair_seconds == pytest.approx(counted)
    draw = noise.of_suite(np.random.default_rng(0))
    drawn = [draw() for _ in range(60)]
    assert {frozenset(low.tolist()) for low, _ in drawn} == {
        frozenset([sign * pair]) for sign in (-1, 1) for pair in (1, 2, 3)
    }
    for low, mean in drawn:
        assert sorted(mean * -np.sign(low)) == list(range(verdicts_simulated.CASES))


@pytest.mark.parametrize("seen", [True, False])
def test_simulated_bisections_name_the_slow_commit_and_no_other(seen: bool) -> None:
    row = bisect_simulated._row(5, "usual", "one", seen)
    assert (row["all named"], row["a wrong one named"]) == (1.0, 0.0)
    assert 0 < row["median seconds"] < bisect_simulated.BUDGET_SECONDS
    assert bisect_simulated._row(5, "heavy tails", "none", True)["a wrong one named"] == 0.0


def test_the_cells_whose_instructions_are_counted_do_the_same_work_wherever_they_lie() -> None:
    kept = []
    for words in (instructions.PLAIN, instructions.moved(np.random.default_rng(1))):
        names: dict[str, Any] = {}
        exec(instructions.CELLS.format(**words), names)
        torch.manual_seed(0)
        kept.append(names["OwnGRU"](3, 4)(torch.ones(5, 2, 3))[0])
    assert torch.equal(*kept)


def test_a_summary_of_instructions_and_of_bisections_has_a_row_for_each_kind() -> None:
    rows = pd.DataFrame(
        [
            {
                "suite": suite,
                "kind": kind,
                "case": "x",
                "ratio": ratio,
                "spread": 0.001,
                "reported": told,
                "seconds": 5.0,
            }
            for suite, (kind, ratio, told) in enumerate([("planted", 1.006, True), ("unchanged", 1.0, False)])
        ]
    )
    assert instructions.summary(rows)["reported"].tolist() == [1, 0]
    found = pd.DataFrame(
        [
            {"slow commits": "none", "right": True, "wrong": 0, "seconds": 60.0},
            {"slow commits": "python", "right": False, "wrong": 1, "seconds": 90.0},
        ]
    )
    assert bisect_real.summary(found)["with a wrong commit"].tolist() == [0, 1]


def test_a_pair_lasts_until_the_next_one_begins() -> None:
    times = iter([1.0, 5.0, 12.0])  # the first two pairs begin, and the check ends
    clock = pairs.PairClock(times.__next__)
    for replicate in (0, 1, 1, 2, 2):
        clock(Progress(replicate, 0, 24, None))
    assert clock.seconds() == [4.0, 7.0]

"""The programs of the tables in their smallest form, on data with known answers."""

import math
import random
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnnbench.store.records import Case
from rnnbench.suite import suites
from rnnbench.suite.expressions import parse_only
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import stored
from tests.doubles import workload as small
from tests.validation import __main__ as program
from tests.validation import (
    checks_simulated,
    handed_back,
    live_simulated,
    noise,
    real,
    shared_simulated,
    stopping_simulated,
    verdicts,
    verdicts_simulated,
)
from tests.validation.faults.command import Command
from tests.validation.shared_simulated import SHARINGS

pytestmark = [pytest.mark.slow, pytest.mark.weekly]


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
    judged, seconds = checks_simulated.one_check(rng, pool, pool, change, 60.0)
    words = [each.verdict for each in judged]
    assert words[: checks_simulated.FAMILY] == ["regressed"] * checks_simulated.FAMILY
    assert "regressed" not in words[checks_simulated.FAMILY :]
    assert seconds <= 60
    assert len(words) - words.count("undecided") >= 10


def test_simulated_calls_that_are_sometimes_slower_show_in_the_mean_and_hardly_in_the_low_quantile() -> None:
    sharing, some = shared_simulated.SHARINGS["always quiet"], shared_simulated.SomeCalls(0.1, 1.5)
    [pairs] = checks_simulated.pool_of(sharing, some, "test", 1, 8)
    assert np.mean([each.quiet_mean for each in pairs]) == pytest.approx(math.log(1.05), abs=0.02)
    assert abs(np.mean([each.quiet_low for each in pairs])) < 0.01


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
    suite = suites.read_suite(str(Path(__file__).parent / file))
    only = parse_only(["batch_size=16 phase=inference"])
    for group in suite.groups(only, None):
        for case in group.cases:
            if not case.is_reference:
                assert "weights_from = None" in str(observe(build(case, suite.file.parent)).parity)


def test_an_unknown_table_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match="no table 'luck'; there are stopping-simulated, "):
        program.main(["luck"])


def test_a_witness_watches_methods_that_there_are(tmp_path: Path) -> None:
    """It names them as text, so a method that is renamed would be noticed only when faults are tried."""
    assert Command(tmp_path, "--version", witness=tmp_path / "witness").end() == (0, "")


def test_simulated_checks_find_a_large_slowdown_and_blame_nobody_else() -> None:
    table = verdicts_simulated.error_rates(suites=1)
    assert set(table["noise"]) == set(noise.NOISES | noise.MODES)
    by_truth = table.groupby("truth")
    slowed = by_truth.get_group("half 10%")
    assert (slowed["slower: regressed"] > 0.95).all()
    assert (slowed["slower: unchanged"] == 0).all()
    assert (by_truth.get_group("nothing differs")["unchanged: suites with a false alarm"] == 0).all()
    assert (table["median seconds"] <= 60).all()


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


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_what_is_handed_back_is_clocked_against_what_was_given(phase: str) -> None:
    table = handed_back.searches(("RNN",), ((4, 2),), (phase,), steps=3, budget=0.2, blocks=3)
    [row] = table.to_dict("records")
    assert row["quiet"] > 0
    assert row["spent"] > 0
    assert not row["sure"]  # nothing was compiled in this time
    assert row["left out"] == "compiled, prepacked"
    assert len(handed_back.summary(table)) == 2

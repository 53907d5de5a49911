"""Two stored runs: what makes them incomparable, and the findings if they can be compared."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rnnbench import load, summarize
from rnnbench.analysis import verdict as verdict_module
from rnnbench.analysis.comparison import Finding
from rnnbench.analysis.estimate import Estimate, Location
from rnnbench.analysis.stored import (
    MAX_FREEDOM,
    MIN_CASES,
    RATIO,
    TOO_FEW,
    StoredRun,
    common_cases,
    compare,
    read_stored_run,
    scatter,
    times_as_many,
    together,
    with_run_to_run,
)
from rnnbench.errors import UserError
from rnnbench.store.records import Measurement
from rnnbench.store.run_info import Processor
from tests.doubles import workload as small
from tests.doubles.stored import INFO, PROCESSOR, folder, measured, on, several, stored_run, window, written
from tests.validation import stored_simulated

LOOP, REFERENCE = small.case("vanilla"), small.reference_case()


def margins(run: StoredRun) -> dict[str, float]:
    return dict.fromkeys(run.measurements, 0.025)


def on_a_shared_core(parent: Path, ratio: float, shared: float, quiet_blocks: int) -> StoredRun:
    """A run of cases whose ratio to torch.nn is `ratio` if the core is quiet, and `shared` over all blocks."""
    rng = random.Random(f"{ratio} {shared}")
    windows = []
    cases = [small.case("vanilla", hidden_size=size) for size in range(1, MIN_CASES + 1)]
    references = [small.reference_case(hidden_size=size) for size in range(1, MIN_CASES + 1)]
    for replicate in range(6):
        for case in (*cases, *references):
            noise = math.exp(rng.gauss(0, 0.002))
            quiet, of_all = (1.0, 2.0) if case in references else (ratio, 2.0 * shared)
            made = window(case, replicate, [of_all * noise], turns=2)
            made = replace(made, order=int(case in cases), best_pulse=5e-6, pulses=100, quiet_pulses=20)
            if quiet_blocks:
                seconds = quiet * noise
                made = replace(made, quiet_blocks=quiet_blocks, quiet_seconds=seconds, quiet_low=(seconds,))
            windows.append(made)
    return read_stored_run(written(parent, measured([*cases, *references]), windows, status="finished"))


@pytest.mark.parametrize(
    ("blocks_of_base", "blocks_of_head", "verdict"),
    [
        (20, 20, "unchanged"),  # undisturbed in both: the ratio of a quiet core is the same
        (20, 0, "regressed"),  # in one of them only: by all blocks of both, and never one of each
        (0, 0, "regressed"),
    ],
)
def test_two_runs_are_compared_by_the_ratio_that_both_reports_show(
    tmp_path: Path, blocks_of_base: int, blocks_of_head: int, verdict: str
) -> None:
    base = on_a_shared_core(tmp_path / "base", 2.0, 2.0, blocks_of_base)
    head = on_a_shared_core(tmp_path / "head", 2.0, 2.6, blocks_of_head)
    comparison = compare(base, head, dict.fromkeys(head.measurements, 0.05))
    assert {each.verdict for each in comparison.findings} == {verdict}


def test_runs_of_two_machines_are_incomparable_with_the_key_that_differs(tmp_path: Path) -> None:
    base, same, other, unknown = (
        replace(read_stored_run(folder(tmp_path / str(index), {LOOP: [[2.0]] * 6, REFERENCE: [[1.0]] * 6})), info=info)
        for index, info in enumerate([INFO, on(PROCESSOR), on(replace(PROCESSOR, stepping="2")), on(None)])
    )
    assert compare(base, same, {LOOP.key: 0.025}).findings[0].verdict != "incomparable"
    for head, reason in (
        (other, "processor stepping was 1 and is 2"),
        (unknown, "the run of 2026-01-01 does not say what machine it is of"),
    ):
        comparison = compare(base, head, {LOOP.key: 0.025})
        assert comparison.findings == (Finding(LOOP, "incomparable", 0.025, reason),)
        assert comparison.exit_code() == 2


def on_a_card(parent: Path, clocks: Sequence[float]) -> Path:
    """A run on a GPU whose clock ran at a rate of its own in each replicate, and whose calls took so much longer."""
    times = several([2.0] * MIN_CASES)
    windows = [
        replace(window(case, replicate, [seconds * clocks[0] / rate], turns=2), sm_clock_mhz=rate)
        for case, replicates in times.items()
        for replicate, (rate, [seconds]) in enumerate(zip(clocks, replicates, strict=True))
    ]
    return written(parent, measured(times), windows, status="finished", replicates=len(clocks))


def test_runs_at_unlike_clock_rates_of_a_gpu_are_incomparable_by_time(tmp_path: Path) -> None:
    base, head = (
        read_stored_run(on_a_card(tmp_path / name, [rate] * 6)) for name, rate in (("base", 1700.0), ("head", 1650.0))
    )
    comparison = compare(base, head, margins(head))
    words = "the clock of the GPU ran at 1,700 MHz in the base and at 1,650 MHz in the head"
    assert {(each.verdict, each.reason, each.low) for each in comparison.findings} == {("incomparable", words, None)}
    assert set(together([base, head], 0.025).rows["verdict"].dropna()) == {"incomparable"}
    assert {each.verdict for each in compare(base, base, margins(base)).findings} == {"unchanged"}


def test_visits_in_which_a_gpu_was_held_back_do_not_count_and_are_told(tmp_path: Path) -> None:
    run = on_a_card(tmp_path / "base", [1700.0, 1700.0, 1690.0, 1700.0, 1700.0, 1200.0])
    frame = summarize(load(run))
    assert set(frame["replicates"]) == {5}
    words = f"held back: the GPU's clock was over 2% below its usual rate in 12 of {12 * 6} measurements of a case"
    assert (
        f"{run.name}: {words}; nothing here counts these"
        in compare(read_stored_run(run), read_stored_run(run), margins(read_stored_run(run))).notes
    )


def test_a_comparison_says_which_runs_it_compares_and_how(tmp_path: Path) -> None:
    base, head = (
        read_stored_run(folder(tmp_path / name, several([slower] * MIN_CASES)))
        for name, slower in (("base", 2.0), ("head", 2.2))
    )
    comparison = compare(base, head, margins(head))
    [run] = (tmp_path / "base").iterdir()
    [other] = (tmp_path / "head").iterdir()
    assert (comparison.suite, comparison.way) == ("test", "stored")
    assert (comparison.base, comparison.head) == (f"run {run.name}", f"run {other.name}")
    assert len(comparison.findings) == MIN_CASES
    for finding in comparison.findings:
        assert (finding.verdict, finding.replicates, finding.margin) == ("regressed", 6, 0.025)
        assert finding.low is not None
        assert finding.low.value == pytest.approx(1.1)


def test_too_few_cases_to_tell_how_much_runs_differ_get_no_verdict_and_end_with_2(tmp_path: Path) -> None:
    base, head = (
        read_stored_run(folder(tmp_path / name, several([slower] * (MIN_CASES - 1))))
        for name, slower in (("base", 2.0), ("head", 4.0))
    )
    comparison = compare(base, head, margins(head))
    assert {(finding.verdict, finding.reason) for finding in comparison.findings} == {("undecided", TOO_FEW)}
    assert comparison.exit_code() == 2


def test_a_case_that_was_not_timed_beside_its_reference_is_undecided(tmp_path: Path) -> None:
    base = read_stored_run(folder(tmp_path / "base", {LOOP: [[2.0]] * 6, REFERENCE: [[1.0]] * 6}))
    head = read_stored_run(
        folder(tmp_path / "head", {LOOP: [[2.0]] * 6}, [Measurement(REFERENCE, "failed", reason="lost")])
    )
    for then, now in ((base, head), (head, base)):
        [finding] = compare(then, now, {LOOP.key: 0.025}).findings
        assert finding == Finding(LOOP, "undecided", 0.025, "not timed beside torch.nn in both runs")


def test_what_only_one_run_has_is_told_but_for_references(tmp_path: Path) -> None:
    old, new = small.case("vanilla", hidden_size=7), small.case("vanilla", hidden_size=8)
    shared = {LOOP: [[2.0]] * 6, REFERENCE: [[1.0]] * 6}
    base = read_stored_run(
        folder(tmp_path / "base", shared | {old: [[2.0]], small.reference_case(hidden_size=7): [[1.0]]})
    )
    head = read_stored_run(
        folder(tmp_path / "head", shared | {new: [[2.0]], small.reference_case(hidden_size=8): [[1.0]]})
    )
    findings = compare(base, head, {LOOP.key: 0.025}).findings
    assert {(finding.case, finding.reason) for finding in findings if finding.verdict is None} == {
        (old, "only in the base"),
        (new, "only in the head"),
    }
    assert len(findings) == 3


def test_runs_that_share_only_a_reference_are_refused_and_told_where_cases_are_shown() -> None:
    assert common_cases({LOOP.key: None}, {LOOP.key: LOOP, REFERENCE.key: REFERENCE}) == [LOOP]
    with pytest.raises(
        UserError, match=r"^the two runs have no case in common; `rnnbench list cases SUITE` shows a suite's$"
    ):
        common_cases({REFERENCE.key: None}, {LOOP.key: LOOP, REFERENCE.key: REFERENCE})


@pytest.mark.parametrize("replicates", [1, 4, 12])
def test_a_runs_ratio_is_one_number_in_all_reports(tmp_path: Path, replicates: int) -> None:
    rng = random.Random(replicates)
    path = folder(
        tmp_path,
        {
            LOOP: [[rng.uniform(2, 3)] for _ in range(replicates)],
            REFERENCE: [[rng.uniform(1, 1.1)] for _ in range(replicates)],
        },
    )
    row = summarize(load(path)).set_index("case").loc[LOOP.key]
    of_report = [row["ratio"], row["ratio_low"], row["ratio_high"]]
    run = read_stored_run(path)
    for rows in (together([run, run], 0.025).rows,):
        assert rows[RATIO].to_numpy() == pytest.approx(np.array([of_report] * 2), nan_ok=True)


@pytest.mark.parametrize("cases", [6, 7, 24, 25])
def test_the_scatter_of_equal_cases_is_their_standard_deviation(cases: int) -> None:
    rng = np.random.default_rng(cases)
    assert np.mean([scatter(rng.standard_normal(cases)) for _ in range(2000)]) == pytest.approx(1.0, abs=0.05)


def test_the_scatter_is_that_of_equal_cases_even_if_half_of_all_have_changed() -> None:
    rng, odd = np.random.default_rng(1), np.arange(24) % 2
    assert 1.0 < np.median([scatter(rng.standard_normal(24) + 100 * odd) for _ in range(300)]) < 2.5


def test_only_what_goes_beyond_the_cases_own_errors_is_added() -> None:
    rng = np.random.default_rng(3)
    quiet = {str(case): Location(value, 0.01, 5.0) for case, value in enumerate(rng.normal(0, 0.005, 24))}
    same = with_run_to_run(quiet)
    assert {(wide.value, wide.error) for wide in same.values()} == {(one.value, one.error) for one in quiet.values()}
    assert {wide.freedom for wide in same.values()} == {MAX_FREEDOM}
    differing = {case: Location(3 * location.value, 0.001, 5.0) for case, location in quiet.items()}
    wider = with_run_to_run(differing)
    assert {location.value for location in wider.values()} == {location.value for location in differing.values()}
    assert np.mean([location.error for location in wider.values()]) == pytest.approx(0.015, rel=0.5)
    assert all(location.freedom == MAX_FREEDOM for location in wider.values())


def test_cases_without_an_error_of_their_own_do_not_count() -> None:
    few = {str(case): Location(0.0, 0.01, 5.0) for case in range(MIN_CASES - 1)}
    assert not any(wide.freedom for wide in with_run_to_run(few | {"single": Location(0.0, math.nan, 0.0)}).values())
    assert all(wide.freedom for wide in with_run_to_run(few | {"another": Location(0.0, 0.01, 5.0)}).values())


@pytest.fixture
def often_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error rate of 20% in place of 1%, which few pairs of runs show."""
    monkeypatch.setattr(verdict_module, "Q", 0.2)


@pytest.mark.usefixtures("often_wrong")
def test_runs_that_differ_as_a_whole_make_hardly_any_false_verdict_and_hide_no_large_change() -> None:
    table = stored_simulated.error_rates(60, ["all at the margin", "one 50%"], [0.0])
    assert (table["pairs with a false verdict"] <= 0.05).all()
    assert table["changed cases: regressed"].max() > 0.9


@pytest.mark.usefixtures("often_wrong")
def test_cases_that_differ_from_run_to_run_by_unlike_amounts_make_hardly_more_false_verdicts() -> None:
    table = stored_simulated.error_rates(150, ["nothing differs"], [0.9])
    assert table["pairs with a false verdict"].item() <= 42 / 150  # at 35%, fewer come about once in 30 tries


CASE = small.case("vanilla")
EDGE = math.log1p(0.025)


def undecided(centre: float, half: float, replicates: int = 4) -> Finding:
    """An undecided case whose log-ratio is known within `half`."""
    low = Estimate(*(math.exp(centre + side * half) for side in (0, -1, 1)))
    return Finding(CASE, "undecided", 0.025, low=low, mean=low, replicates=replicates)


@pytest.mark.parametrize(
    ("centre", "half", "times"),
    [
        (0.0, 2 * EDGE, 4.0),  # half as wide fits into the margin
        (EDGE / 2, EDGE, 4.0),
        (3 * EDGE, 4 * EDGE, 4.0),  # or lies beyond it
        (-3 * EDGE, 4 * EDGE, 4.0),
        (3 * EDGE, EDGE, 1.0),  # it does, and is not sure enough among many cases
        (EDGE, EDGE, math.inf),  # on the margin itself
    ],
)
def test_the_replicates_that_are_needed_follow_from_the_width_of_the_interval(
    centre: float, half: float, times: float
) -> None:
    assert times_as_many(undecided(centre, half)) == pytest.approx(times, rel=1e-6, abs=1e-6) or times == math.inf
    assert (times_as_many(undecided(centre, half)) > 1e6) == (times == math.inf)


def biased_run(parent: Path, seed: int) -> StoredRun:
    """A run with a bias of 4% in each case, and replicates that agree within 0.1%."""
    rng, times = random.Random(seed), {}
    for batch in range(1, 13):
        bias = math.exp(rng.gauss(0.0, 0.04))
        times[small.case("vanilla", batch_size=batch)] = [[bias * rng.uniform(1.0, 1.001)] for _ in range(5)]
        times[small.reference_case(batch_size=batch)] = [[1.0]] * 5
    return read_stored_run(folder(parent / str(seed), times))


def test_runs_that_vary_more_than_their_replicates_need_a_check_in_turns(tmp_path: Path) -> None:
    base, head = (biased_run(tmp_path, seed) for seed in (1, 2))
    comparison = compare(base, head, dict.fromkeys(base.measurements, 0.025))
    assert comparison.count("undecided") > 1
    assert comparison.needed == "`rnnbench check --base` measures both sides in turns, and decides more"
    assert compare(base, base, dict.fromkeys(base.measurements, 0.5)).needed == ""


CASES = [small.case("gru", batch_size=size) for size in range(1, 9)]


def run(number: int, cases: slice = slice(None), slower: float = 0.0, **worker: str) -> StoredRun:
    logs = np.random.default_rng(number).normal(0, 0.005, (len(CASES), 12))
    logs[0] += slower
    return stored_run(number, CASES[cases], logs[cases], **worker)


def test_each_run_is_held_against_the_first_by_its_ratios() -> None:
    table = together([run(0), run(1, slower=0.1), run(2, slower=-0.1)], 0.025)
    verdicts = table.rows.pivot(index="case", columns="at", values="verdict").loc[[case.key for case in CASES], [1, 2]]
    assert verdicts.to_numpy().tolist() == [["regressed", "improved"], *[["unchanged", "unchanged"]] * 7]
    assert table.rows["ratio_to_reference"].notna().all()
    change = table.rows.query("case == @CASES[0].key and at == 1")
    assert change["change_to_first_run_low"].item() < np.exp(0.1) < change["change_to_first_run_high"].item()
    assert (table.margin, [name for name, _ in table.runs]) == (0.025, ["simulated-00", "simulated-01", "simulated-02"])


def of(stored: StoredRun, processor: Processor | None) -> StoredRun:
    return replace(stored, info=replace(stored.info, environment=on(processor).environment))


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (PROCESSOR, ()),
        (replace(PROCESSOR, stepping="2"), ("processor stepping was 1 and is 2",)),
        (None, ("the run of 2026-01-01 does not say what machine it is of",)),
    ],
)
def test_a_run_of_another_machine_is_shown_and_gets_no_verdict(
    processor: Processor | None, expected: tuple[str, ...]
) -> None:
    table = together([run(0), of(run(1), processor), run(2)], 0.025)
    assert table.machines == (expected, ())
    changes = table.rows.groupby("at")["change_to_first_run"]
    assert changes.count().tolist() == [0, 0 if expected else len(CASES), len(CASES)]
    assert set(table.rows.loc[table.rows["at"] == 1, "verdict"]) == {"incomparable" if expected else "unchanged"}
    assert table.rows["ratio_to_reference"].notna().all()


def test_runs_of_unlike_software_are_compared() -> None:
    table = together([run(0, torch="2.13", python="3.11"), run(1, torch="2.14", python="3.11")], 0.025)
    assert table.rows.loc[table.rows["at"] == 1, "verdict"].notna().all()
    assert [info.environment["worker"]["torch"] for _, info in table.runs] == ["2.13", "2.14"]


def test_a_side_of_a_check_bears_the_name_of_the_check_too(tmp_path: Path) -> None:
    for side in ("base", "head"):
        folder(tmp_path, {LOOP: [[2.0]], REFERENCE: [[1.0]]}).rename(tmp_path / side)
    assert read_stored_run(tmp_path / "head").name == f"{tmp_path.name}/head"


def test_a_case_that_a_run_lacks_has_no_ratio_there() -> None:
    table = together([run(0, slice(0, 6)), run(1), run(2, slice(1, 8))], 0.025)
    rows = table.rows.set_index(["case", "at"])
    first, last = (rows.loc[CASES[place].key] for place in (0, -1))
    assert first["ratio_to_reference"].isna().tolist() == [False, False, True]
    assert first["verdict"].isna().tolist() == [True, False, True]
    assert last["ratio_to_reference"].isna().tolist() == [True, False, False]
    assert last["verdict"].isna().all()
    assert table.alone == 0


def test_runs_without_a_case_in_common_are_refused() -> None:
    with pytest.raises(UserError, match="simulated-00 and simulated-01 have no case with a ratio in common"):
        together([run(0, slice(0, 4)), run(1, slice(4, 8))], 0.025)

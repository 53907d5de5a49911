"""The rows and the answer of a comparison, as they are written and read again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.comparison import SAME_CODE, Change, Comparison, Finding
from rnnbench.analysis.estimate import Estimate
from rnnbench.errors import UserError
from rnnbench.report.table import escape
from rnnbench.report.verdicts import outputs, verdicts
from rnnbench.report.verdicts.page import lead
from rnnbench.report.verdicts.reasons import change_of, explained, size, size_together, why
from rnnbench.report.verdicts.verdicts import VERDICTS_FILE, Verdicts, read_verdicts
from rnnbench.store.records import Case
from tests.doubles import screens
from tests.doubles.workload import case

from .samples import (
    APART,
    FAILING,
    FASTER,
    LARGER,
    LONE,
    ONE_SIDED,
    OPEN,
    SAME,
    SLOWER,
    SOME_CALLS,
    TOGETHER,
    comparison,
    every_verdict,
    finding,
    large,
    nasty,
    realistic,
    unchanged,
)
from .test_reasons import with_change

SAMPLES = [comparison(), every_verdict(), realistic(), nasty(), large(3, 60)]
FAR_OFF = finding("undecided", Estimate(2.03, 0.46, 9.02), case=case("gru", "hoisted", batch_size=16))
MENDED = finding("improved", case=case("gru", batch_size=16), reason="failed in the base: NaN")


GROWN = replace(OPEN, is_counted=True, changes=(Change("operators", 114, 122), Change("allocations", 100, 101)))
MORE_ALLOCATIONS = (Change("allocations", 100, 200),)
GROWN_TOO_FAR = replace(GROWN, verdict="regressed", rule="growth")
BY_CODE = finding(
    "unchanged", case=case("gru", batch_size=16), rule="same code", reason="runs the same code on both sides"
)
BROKEN = finding(None, case=case("gru", batch_size=16), is_broken=True, reason="failed on both sides: no module a")


ANSWERS = {
    "no case": [],
    "only in the head": [ONE_SIDED],
    "unchanged": [SAME],
    "many unchanged": unchanged(24),
    "regressed": [SLOWER, SAME],
    "the worst of two": [SLOWER, SOME_CALLS, SAME],
    "regressed in the mean": [SOME_CALLS],
    "larger": [LARGER],
    "larger and faster": [replace(LARGER, low=Estimate(0.8, 0.79, 0.81))],  # the time is not what regressed
    "fails now": [FAILING],
    "two fail now": [FAILING] * 2,
    "incomparable": [APART] * 3,
    "undecided": [OPEN],
    "a large change undecided": [FAR_OFF, OPEN, SAME],
    "two undecided": [
        replace(FAR_OFF, reason="save more processes of each side"),
        LONE,
    ],
    "not reached": [finding("undecided", reason="not reached")],
    "one replicate": [replace(LONE, is_counted=True), ONE_SIDED],
    "one replicate beside a mended case": [LONE, MENDED],
    "one replicate beside a failure": [LONE, FAILING],
    "mended": [MENDED],
    "undecided with and without an interval": [OPEN, LONE, SAME],
    "improved": [FASTER, SAME, ONE_SIDED],
    "undecided, and work grew": [GROWN, replace(OPEN, is_counted=True), SAME],
    "undecided, and work grew in two by unlike numbers": [GROWN, replace(GROWN, changes=MORE_ALLOCATIONS), BY_CODE],
    "undecided, and work fell": [replace(GROWN, changes=(Change("operators", 122, 114),))],
    "undecided, beside cases that run the same code": [OPEN, BY_CODE],
    "growth is not allowed": [GROWN_TOO_FAR, SAME],
    "more than half fail": [BROKEN, BROKEN, SAME],
    "together": [*TOGETHER, SAME],
    "together in the mean": [replace(each, deciding_ratio="mean") for each in TOGETHER],
    "together and alone": [*TOGETHER, SLOWER],
    "on a shared core": [replace(SLOWER, state="on a shared core"), SAME],
    "the most improved": [FASTER, replace(FASTER, low=Estimate(0.8, 0.79, 0.81))],
}


def test_the_answer_to_every_kind_of_comparison(snapshot: SnapshotAssertion) -> None:
    answers = {
        # One size for all, so that names stay short.
        kind: answers_of(comparison(*map(_of_one_size, found)))
        for kind, found in ANSWERS.items()
    }
    assert answers == snapshot


def _of_one_size(sample: Finding) -> Finding:
    assert isinstance(sample.case, Case)
    workload = replace(sample.case.workload, batch_size=16, num_layers=1)
    return replace(sample, case=replace(sample.case, workload=workload))


def answers_of(compared: Comparison) -> tuple[str, str]:
    found = verdicts.verdicts_of(compared)
    return found.answer, found.details


def test_a_finding_says_that_its_core_was_shared_and_that_it_changed_with_others() -> None:
    shared = [replace(each, state="on a shared core") for each in (TOGETHER[0], OPEN, SAME, SLOWER)]
    rows = verdicts.verdicts_of(comparison(*shared)).findings
    assert all(why(row).endswith("on a shared core") for row in rows)
    assert verdicts.verdicts_of(comparison(*shared)).details.endswith(" 4 cases were timed on a shared core.")
    [together] = [row for row in rows if row.family]
    assert why(together).startswith("with the 3 cases of Mine; ")
    assert size(together) == "5.0% slower (+3.0% to +7.0%)"
    assert size_together(together) == "the 3 cases of mine.py:Mine are together 6.0% slower (+5.1% to +6.9%)"
    assert {row.state for row in rows} == {"on a shared core"}
    long = replace(shared[1], reason="a long reason " * 50)
    assert why(verdicts.verdicts_of(comparison(long)).findings[0]).endswith("…; on a shared core")
    undisturbed = verdicts.verdicts_of(comparison(replace(OPEN, state="undisturbed"))).findings[0]
    assert "core" not in why(undisturbed)


def test_what_a_family_lost_is_told_once_in_each_output_and_kept_apart(tmp_path: Path) -> None:
    worst = finding("regressed", 1.3, case=case("gru", batch_size=16))
    for number, findings in enumerate(([*TOGETHER, SAME], [*TOGETHER, worst])):
        (tmp_path / str(number)).mkdir()
        found = kept(tmp_path / str(number), comparison(*findings))
        screen = " ".join(screens.of_verdicts(found, 80).split())
        page = " ".join([*lead(found), *found.frame["why"]])
        texts = [screen, page, outputs.markdown(found), outputs.junit(found), found.json()]
        assert [text.count("are together") for text in texts] == [1] * len(texts)
        assert not any("are together" in line for line in outputs.annotations(found))
        together = [row for row in found.findings if row.family]
        assert {row.family.name for row in together if row.family} == {"mine.py:Mine"}
        assert all(why(row).startswith("with the 3 cases of Mine; ") for row in together)


def test_the_answer_says_what_would_decide() -> None:
    needed = "about 6 min more would be enough for 1 of 1 undecided case"
    found = verdicts.verdicts_of(comparison(replace(OPEN, low=Estimate(1.15, 0.93, 1.43)), SAME, needed=needed))
    assert "1 of 2 cases stayed undecided: lstm hoisted inference" in found.answer
    assert found.details == "Also 1 unchanged. About 6 min more would be enough for 1 of 1 undecided case."


def test_replicates_that_were_too_few_for_a_ratio_are_told_apart_from_none() -> None:
    timed = finding("undecided", case=case("gru", batch_size=16), reason="too few pairs")
    assert verdicts.verdicts_of(comparison(replace(timed, replicates=4))).method.startswith(
        "Too few replicates were timed in "
    )
    assert verdicts.verdicts_of(comparison(replace(timed, replicates=0))).method.startswith(
        "No times were compared in "
    )


def test_the_answer_counts_the_cases_that_take_more_instructions(snapshot: SnapshotAssertion) -> None:
    other = replace(OPEN, case=case("gru", batch_size=16))
    samples = {
        "none takes more": [with_change(SAME, None)],
        "one takes more": [with_change(SAME, "python"), SLOWER],
        "two take more": [with_change(SAME, "python"), with_change(other, "python", by=140)],
    }
    assert {kind: answers_of(comparison(*found)) for kind, found in samples.items()} == snapshot


def _refuse(constant: str) -> Any:
    raise AssertionError(constant)


def kept(folder: Path, compared: Comparison) -> Verdicts:
    """The verdicts of a comparison, written and read again."""
    outputs.write_files(verdicts.verdicts_of(compared), folder)
    found = read_verdicts(folder)
    assert found is not None
    return found


@pytest.mark.parametrize("compared", SAMPLES, ids=range(len(SAMPLES)))
def test_what_is_written_is_valid_json_and_read_again(tmp_path: Path, compared: Comparison) -> None:
    now, later = verdicts.verdicts_of(compared), kept(tmp_path, compared)
    assert (later.answer.split(), later.details) == (now.answer.split(), now.details)
    frames = [
        each.frame.drop(columns="name").replace("\N{REPLACEMENT CHARACTER}", "?", regex=True) for each in (now, later)
    ]
    assert frames[0].equals(frames[1])
    whole = json.loads(now.json(), parse_constant=_refuse)
    assert whole["findings"] == [json.loads(line, parse_constant=_refuse) for line in now.json_lines().splitlines()]
    assert sum(whole["counts"].values()) == len(whole["findings"]) == len(compared.findings)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(SLOWER, id="slower"),
        pytest.param(TOGETHER[0], id="slower together"),
        pytest.param(with_change(SAME, "python", gate=True), id="more instructions"),
    ],
)
def test_a_finding_as_json(found: Finding, snapshot: SnapshotAssertion) -> None:
    assert verdicts.verdicts_of(comparison(found)).json() == snapshot


CHANGED_CODE = replace(
    SLOWER, cause="ltc.py: Cell.forward changed", definitions=("ltc.py:Cell.forward", "ltc.py:scale", "util.py")
)
DOUBTFUL = replace(OPEN, cause="a process is started by cells.py:3")
KEPT = replace(SAME, cause="it failed or looked changed in a pair of workers", is_kept=True)
SAME_IN_BOTH = Finding(case("deep"), "unchanged", 0.025, SAME_CODE, rule="same code")


@pytest.mark.parametrize(
    ("findings", "timed"),
    [
        ([CHANGED_CODE, SAME_IN_BOTH], "1 of 2 cases may run changed code: Cell.forward, scale and 1 more"),
        ([DOUBTFUL], "1 of 1 case may run changed code: a process is started by cells.py:3"),
        ([SAME_IN_BOTH], "0 of 1 case may run changed code"),
        (
            [KEPT, SAME_IN_BOTH],
            "0 of 2 cases may run changed code; 1 case looks changed in a pair of workers, though no code is",
        ),
        ([SLOWER, SAME], ""),
    ],
)
def test_the_first_line_tells_how_many_cases_may_run_changed_code_and_which(
    findings: list[Finding], timed: str, tmp_path: Path
) -> None:
    now = kept(tmp_path, comparison(*findings))
    assert now.timed == timed
    assert now.subject.endswith(timed or "uncommitted changes")
    assert json.loads((tmp_path / "verdicts.json").read_text())["timed"] == timed


def test_each_case_says_why_it_was_timed_or_not_in_every_output(tmp_path: Path) -> None:
    now = kept(tmp_path, comparison(CHANGED_CODE, DOUBTFUL, SAME_IN_BOTH))
    texts = [explained(row) for row in now.findings]
    assert texts[0].endswith("timed because ltc.py: Cell.forward changed")
    assert texts[1].endswith("timed because a process is started by cells.py:3")
    assert texts[2] == "runs the same code on both sides"
    assert list(now.frame["why"]) == texts
    lines = [json.loads(line) for line in now.json_lines().splitlines()]
    assert [line["cause"] for line in lines] == [CHANGED_CODE.cause, DOUBTFUL.cause, ""]
    assert lines[0]["definitions"] == [*CHANGED_CODE.definitions]
    assert all(escape(text) in outputs.markdown(now) for text in texts)


def test_a_case_that_the_mean_leaves_open_is_described_by_it(tmp_path: Path) -> None:
    open_in_the_mean = finding("undecided", Estimate(1.0, 0.99, 1.01), mean=Estimate(1.04, 0.97, 1.11))
    [row] = kept(tmp_path, comparison(open_in_the_mean)).findings
    assert (row.is_by_mean, row.witness, change_of(row)) == (True, None, "+4.0%")


def test_a_row_is_stored_whole_and_read_again_as_it_was() -> None:
    for compared in SAMPLES:
        for row in compared.findings:
            again = Finding.from_json(json.loads(json.dumps(row.to_json())))
            assert again == replace(row, case=again.case)
            assert again.rule == row.rule


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"verdict": "inconclusive"}, "verdict: expected 'regressed', .* found 'inconclusive'"),
        ({"margin": "much"}, "margin: expected a number"),
        ({"changes": [{"metric": "beauty", "base": 1, "head": 2}]}, "no metric is called 'beauty'"),
        ({"ratio": 1.6, "ratio_low": None}, "low.lower: expected"),
    ],
)
def test_a_row_with_a_wrong_value_is_refused_with_its_place(tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    kept(tmp_path, comparison(OPEN))
    content = json.loads((tmp_path / VERDICTS_FILE).read_text())
    content["findings"][0] |= wrong
    (tmp_path / VERDICTS_FILE).write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"findings\[0\]: .*{words}"):
        read_verdicts(tmp_path)


def test_what_is_wrong_with_a_file_is_the_users_error(tmp_path: Path) -> None:
    for text, words in {'{"schema_version": 9}': "schema_version is 9", "{": "can't be read: JSONDecodeError"}.items():
        (tmp_path / VERDICTS_FILE).write_text(text)
        with pytest.raises(UserError, match=rf"verdicts\.json: {words}"):
            read_verdicts(tmp_path)

"""How a run was measured, in words and as a table."""

import json

import pandas as pd
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.summary import Noise
from rnnbench.report.environment import (
    facts,
    noise_sentence,
    not_measured,
    reached,
    readiness,
    sections,
    table_of_environment,
)
from rnnbench.report.table import Lines, markdown
from rnnbench.store.run_info import RunInfo
from tests.doubles.stored import PROCESSOR
from tests.report.conftest import info_with

NAN = float("nan")
KNOWN = {
    "quiet": Noise(0.005, 0.005, 4, 0.01),
    "noisy": Noise(0.05, 0.05, 4, -0.02),
    "quiet, and drift is not known": Noise(0.005, 0.005, 4, NAN),
    "not known": Noise(NAN, NAN, 4, NAN),
}


def test_the_noise_and_whether_a_machine_is_ready_are_told_in_a_sentence(snapshot: SnapshotAssertion) -> None:
    assert {kind: noise_sentence(noise) for kind, noise in KNOWN.items()} == snapshot(name="noise")
    told = {
        f"{kind}, {len(advice)} to change": readiness(advice, noise)
        for kind, noise in (KNOWN | {"not measured": None}).items()
        for advice in ([], ["a"])
    }
    assert told == snapshot(name="readiness")


def test_an_environment_of_any_tree_has_readable_labels(info: RunInfo, snapshot: SnapshotAssertion) -> None:
    tree = {
        "git": None,
        "gpus": [{"name": "H100", "memory_bytes": 80e9}],
        "machine": {"cpu": "A Processor", "processor": PROCESSOR.to_json()},
        "worker": {"settings": {"a setting": True, "empty": []}},
    }
    table = table_of_environment(info_with(info, environment=tree))
    assert markdown(table) == snapshot
    [exact] = table.frame.loc[table.frame["what"] == "processor", "value"]
    assert json.loads(exact) == PROCESSOR.to_json()
    assert set(facts(tree)) < set(table.rows)


def test_how_it_was_measured_has_commands_precision_noise_and_notes(quick: pd.DataFrame, info: RunInfo) -> None:
    with_target = info_with(info, resolved={"measure": {"precision": 0.02}})
    found = {each.id: each for each in sections(quick, KNOWN["quiet"], with_target, ["rnnbench run quick"])}
    measured = found["measured"]
    assert "The target was ±2% for every ratio; " in " ".join(measured.of(str))
    assert "Noise floor: a case differs from itself by ±0.5%" in " ".join(measured.of(str))
    listings = [part.lines for part in measured.of(Lines)]
    assert listings == [list(map(str, with_target.notes)), ["rnnbench run quick"]]
    assert set(found) == {"measured", "environment", "missing"}


def test_what_was_not_measured_is_told_once_for_each_reason_with_its_series(quick: pd.DataFrame) -> None:
    rows = quick.index[(quick["cell"] == "gru") & (quick["implementation"] == "loop")]
    quick.loc[rows[:1], ["status", "reason"]] = ["failed", "ValueError: on purpose"]
    first, second = not_measured(quick)
    where = "inference, batch 1, length 16, hidden 64, 1 layer"
    assert (first.status, str(first)) == ("failed", f"1 failed: gru loop ({where}): ValueError: on purpose")
    assert str(second).startswith(
        "20 skipped: combined hoisted, deep hoisted and deep-notebook hoisted: combined has one product"
    )


def test_the_precision_reached_counts_what_met_what_was_asked(
    quick: pd.DataFrame, info: RunInfo, snapshot: SnapshotAssertion
) -> None:
    measured = quick.index[(quick["implementation"] != "torch.nn") & quick["ratio"].notna()]
    quick.loc[measured, ["ratio_low", "ratio_high"]] = [2 / 1.01, 2 * 1.01]
    quick.loc[measured[:5], ["ratio_low", "ratio_high"]] = [2 / 1.05, 2 * 1.05]
    with_target = info_with(info, resolved={"measure": {"precision": 0.02}})
    assert {"asked": reached(quick, with_target), "not asked": reached(quick, info)} == snapshot
    assert reached(quick.head(0), with_target) == ""

from dataclasses import replace

import numpy as np
import pytest

from rnnbench.analysis.stored import StoredRun
from rnnbench.analysis.together import together
from rnnbench.errors import UserError
from rnnbench.store.processor import Processor
from tests.doubles import workload as small
from tests.doubles.stored import PROCESSOR, on
from tests.validation.history_simulated import stored_run

CASES = [small.case("gru", batch_size=size) for size in range(1, 9)]


def run(number: int, cases: slice = slice(None), slower: float = 0.0, **worker: str) -> StoredRun:
    logs = np.random.default_rng(number).normal(0, 0.005, (len(CASES), 12))
    logs[0] += slower
    return stored_run(number, CASES[cases], logs[cases], **worker)


def test_each_run_is_held_against_the_first_by_its_ratios() -> None:
    table = together([run(0), run(1, slower=0.1), run(2, slower=-0.1)], 0.025)
    verdicts = [[changed.verdict for changed in row.changes if changed] for row in table.rows]
    assert verdicts[0] == ["regressed", "improved"]
    assert all(pair == ["unchanged", "unchanged"] for pair in verdicts[1:])
    assert all(ratio is not None for row in table.rows for ratio in row.ratios)
    [change, _] = table.rows[0].changes
    assert change.low.lower < np.exp(0.1) < change.low.upper
    assert (table.margin, [name for name, _ in table.runs]) == (0.025, ["simulated-00", "simulated-01", "simulated-02"])


def test_a_runs_ratio_is_that_of_the_low_quantile() -> None:
    [ratio, _] = together([run(0), run(1)], 0.025).rows[1].ratios
    assert ratio.lower < 1.0 < ratio.upper < np.exp(0.01)  # the mean is 1% above


def of(stored: StoredRun, processor: Processor | None) -> StoredRun:
    return replace(stored, info=replace(stored.info, environment=on(processor).environment))


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (PROCESSOR, ()),
        (replace(PROCESSOR, stepping="2"), ("processor stepping was 1 and is 2",)),
        (None, ("this run was made by an rnnbench that did not record the machine's identity",)),
    ],
)
def test_a_run_of_another_machine_is_shown_and_gets_no_verdict(
    processor: Processor | None, expected: tuple[str, ...]
) -> None:
    table = together([run(0), of(run(1), processor), run(2)], 0.025)
    assert table.machines == (expected, ())
    assert all((row.changes[0] is None) == bool(expected) for row in table.rows)
    assert all(row.changes[1] is not None and None not in row.ratios for row in table.rows)


def test_runs_of_unlike_software_are_compared_and_the_keys_that_differ_are_told() -> None:
    table = together([run(0, torch="2.13", python="3.11"), run(1, torch="2.14", python="3.11")], 0.025)
    assert table.unlike["worker: torch"] == ("2.13", "2.14")
    assert "worker: python" not in table.unlike
    assert all(change is not None for row in table.rows for change in row.changes)
    assert [info.environment["worker"]["torch"] for _, info in table.runs] == ["2.13", "2.14"]


def test_a_case_that_a_run_lacks_has_no_ratio_there() -> None:
    table = together([run(0, slice(0, 6)), run(1), run(2, slice(1, 8))], 0.025)
    by_size = {row.case.workload.batch_size: row for row in table.rows}
    assert by_size[1].ratios[2] is None
    assert by_size[1].changes[1] is None
    assert by_size[8].ratios[0] is None
    assert by_size[8].changes == (None, None)
    assert table.alone == 0


def test_runs_without_a_case_in_common_are_refused() -> None:
    with pytest.raises(UserError, match="simulated-00 and simulated-01 have no case with a ratio in common"):
        together([run(0, slice(0, 4)), run(1, slice(4, 8))], 0.025)

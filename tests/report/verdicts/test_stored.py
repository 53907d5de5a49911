"""Verdicts that were written are read again, also those of older versions."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from rnnbench.analysis.comparison import Comparison
from rnnbench.errors import UserError
from rnnbench.report.verdicts import answer, as_table, stored
from rnnbench.report.verdicts.folder import write_verdicts
from rnnbench.report.verdicts.rows import all_rows
from rnnbench.report.words.case_names import names

from .samples import LONE, OPEN, comparison, every_verdict, large, nasty, realistic

SAMPLES = [comparison(), every_verdict(), realistic(), nasty(), large(3, 60)]
NEWER = ("answer", "details", "method")  # keys that older versions did not write


def sentences(compared: Comparison) -> tuple[str, str]:
    return answer.sentences(compared, names(finding.case for finding in compared.findings))


def read(folder: Path) -> stored.StoredCheck:
    check = stored.read(folder)
    assert check is not None
    return check


def change(folder: Path, **changes: Any) -> None:
    """Replace values of a check's file; None removes one."""
    file = folder / stored.FILE
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.mark.parametrize("compared", SAMPLES, ids=range(len(SAMPLES)))
@pytest.mark.parametrize("is_older", [False, True])
def test_the_answer_is_that_of_the_terminal(tmp_path: Path, compared: Comparison, is_older: bool) -> None:
    write_verdicts(compared, tmp_path)
    if is_older:
        change(tmp_path, **dict.fromkeys(NEWER))
    check = read(tmp_path)
    first, rest = sentences(compared)
    assert (" ".join(check.answer.split()), check.details) == (" ".join(first.split()), rest)
    assert len(check.findings) == len(compared.findings)


@pytest.mark.parametrize("compared", [every_verdict(), realistic()])
def test_each_case_has_what_the_other_outputs_say_of_it(tmp_path: Path, compared: Comparison) -> None:
    write_verdicts(compared, tmp_path)
    table = as_table.render(read(tmp_path).findings)
    for row, texts in zip(all_rows(compared), table.rows, strict=True):
        case, verdict, size, interval, mean, *_, why = texts
        assert (case, why) == (row.case, row.why)
        assert verdict.endswith(row.verdict)
        assert [text.replace("—", "") for text in (size, interval, mean)] == [row.change, row.interval, row.mean]
    assert table.numeric == (False, False, True, True, True, True, False)


def test_a_case_that_the_mean_leaves_open_is_described_by_it(tmp_path: Path) -> None:
    from .samples import estimate, finding

    open_in_the_mean = finding("undecided", estimate(1.0, 0.99, 1.01), mean=estimate(1.04, 0.97, 1.11))
    write_verdicts(comparison(open_in_the_mean), tmp_path)
    row = read(tmp_path).findings.iloc[0]
    assert (row["described_by"], row["decided_by"]) == ("mean_ratio", None)
    assert as_table.render(read(tmp_path).findings).rows[0][2] == "+4.0%"


def test_what_is_not_known_is_not_a_number(tmp_path: Path) -> None:
    write_verdicts(every_verdict(), tmp_path)
    findings = read(tmp_path).findings.set_index("why")
    lone = "No interval from 1 replicate: undecided; raise --budget"
    assert math.isnan(findings["ratio"][lone])
    assert stored.undrawable(findings) == ["3 cases have a verdict without a time; the table says why."]


def test_verdicts_of_an_older_version_are_read(tmp_path: Path) -> None:
    write_verdicts(comparison(OPEN, LONE), tmp_path)
    content = json.loads((tmp_path / "verdicts.json").read_text().replace("undecided", "inconclusive"))
    lone = content["findings"][1]
    lone |= {"ratio": 1.6, "mean_ratio": 1.5}  # without an interval
    (tmp_path / "verdicts.json").write_text(json.dumps(content))
    findings = read(tmp_path).findings
    assert list(findings["verdict"]) == ["undecided", "undecided"]
    assert findings["ratio"].isna().sum() == findings["mean_ratio"].isna().sum() == 1


def test_a_check_without_verdicts_has_none(tmp_path: Path) -> None:
    assert stored.read(tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema_version": 9}, "schema_version is 9; this rnnbench reads 1"),
        ({"findings": [{"case": "a"}]}, "can't be read: KeyError"),
        ({"findings": "none"}, "can't be read: "),
        ({"notes": 3}, "can't be read: TypeError"),
        ({"seconds": "long"}, "can't be read: ValueError"),
    ],
)
def test_what_is_wrong_with_a_file_is_the_users_error(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    write_verdicts(realistic(), tmp_path)
    change(tmp_path, **changes)
    with pytest.raises(UserError, match=rf"verdicts\.json: {words}"):
        stored.read(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("ratio", -1.0), ("mean_ratio", 0), ("replicates", math.inf)])
def test_a_number_that_no_check_gives_is_the_users_error(tmp_path: Path, name: str, value: float) -> None:
    write_verdicts(realistic(), tmp_path)
    findings = json.loads((tmp_path / stored.FILE).read_text())["findings"]
    change(tmp_path, findings=[findings[0] | {name: value}, *findings[1:]])
    with pytest.raises(UserError, match=r"verdicts\.json: can't be read: (ValueError|OverflowError): "):
        stored.read(tmp_path)


def test_a_file_that_is_no_json_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / stored.FILE).write_text("{")
    with pytest.raises(UserError, match="can't be read: JSONDecodeError"):
        stored.read(tmp_path)
    (tmp_path / stored.FILE).write_text("[]")
    with pytest.raises(UserError, match="can't be read: TypeError"):
        stored.read(tmp_path)
    (tmp_path / stored.FILE).write_text("[" * 100_000)
    with pytest.raises(UserError, match="can't be read: RecursionError"):
        stored.read(tmp_path)

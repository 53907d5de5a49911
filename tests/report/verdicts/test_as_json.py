import json
from typing import Any

import pytest

from rnnbench.analysis.comparison import Comparison
from rnnbench.report.verdicts import as_json

from .samples import LONE, changed, comparison, every_verdict, finding, large, nasty, realistic

SAMPLES = [comparison(), every_verdict(), realistic(), nasty(), large(3, 60)]


def _refuse(constant: str) -> Any:
    raise AssertionError(constant)


@pytest.mark.parametrize("compared", SAMPLES, ids=range(len(SAMPLES)))
def test_it_is_valid_json_and_each_line_too(compared: Comparison) -> None:
    whole = json.loads(as_json.render(compared), parse_constant=_refuse)
    assert whole["findings"] == [
        json.loads(line, parse_constant=_refuse) for line in as_json.lines(compared).split("\n")[:-1]
    ]
    assert sum(whole["counts"].values()) == len(whole["findings"]) == len(compared.findings)


def test_what_is_not_known_is_null() -> None:
    line = json.loads(as_json.lines(comparison(LONE)))
    assert (line["ratio"], line["ratio_low"], line["ratio_high"]) == (None, None, None)
    none = json.loads(as_json.lines(comparison(finding(None, changes=(changed("macs", 0, 5),)))))
    assert (none["verdict"], none["ratio"], none["mean_ratio_low"]) == (None, None, None)

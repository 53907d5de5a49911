import json

import pytest

from rnnbench.analysis.comparison import Finding
from rnnbench.report.verdicts import badge

from .samples import APART, OPEN, SAME, SLOWER, comparison


@pytest.mark.parametrize(
    ("findings", "message", "color"),
    [
        ([SLOWER, OPEN, SAME, SLOWER], "2 regressed", "red"),
        ([APART, SAME], "1 incomparable", "lightgrey"),
        ([SAME, OPEN], "1 inconclusive", "yellow"),
        ([SAME, SAME], "2 unchanged", "brightgreen"),
        ([], "nothing compared", "lightgrey"),
    ],
)
def test_a_badge_says_the_worst_verdict(findings: list[Finding], message: str, color: str) -> None:
    shown = json.loads(badge.render(comparison(*findings)))
    assert shown == {"schemaVersion": 1, "label": "performance: quick", "message": message, "color": color}

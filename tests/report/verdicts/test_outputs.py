"""Every output of a comparison as a whole."""

from collections.abc import Callable

import pytest
from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.comparison import Comparison
from rnnbench.report.verdicts import as_json, github, junit, markdown, terminal

from .samples import APART, FAILING, ONE_SIDED, SAME, SLOWER, comparison, every_verdict, finding, nasty, realistic

OUTPUTS: dict[str, Callable[[Comparison], str]] = {
    "terminal": lambda compared: terminal.text(compared, 100),
    "narrow terminal": lambda compared: terminal.text(compared, 80),
    "markdown": markdown.render,
    "junit": junit.render,
    "annotations": lambda compared: "\n".join(github.annotations(compared)),
}
COMPARISONS = {"every verdict": every_verdict(), "odd names": nasty(), "nothing": comparison()}


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("compared", COMPARISONS)
def test_a_comparison_in_every_output(compared: str, output: str, snapshot: SnapshotAssertion) -> None:
    assert OUTPUTS[output](COMPARISONS[compared]) == snapshot


@pytest.mark.parametrize(
    "compared",
    [
        pytest.param(realistic(), id="some changes among many cases"),
        pytest.param(comparison(APART, APART, APART, FAILING, FAILING), id="shared sentences"),
        pytest.param(comparison(SAME, *[ONE_SIDED] * 5), id="not compared"),
        pytest.param(comparison(SAME, finding("unchanged", 1.0, margin=0.05)), id="two margins"),
        pytest.param(comparison(APART, FAILING), id="no times"),
        pytest.param(comparison(SLOWER, SAME, way="stored", seconds=None), id="stored runs"),
        pytest.param(comparison(SLOWER, SAME, way="saved", seconds=None), id="files of pytest-benchmark"),
    ],
)
def test_a_comparison_on_a_terminal(compared: Comparison, snapshot: SnapshotAssertion) -> None:
    assert terminal.text(compared, 100) == snapshot


def test_a_finding_as_json(snapshot: SnapshotAssertion) -> None:
    assert as_json.render(comparison(SLOWER)) == snapshot

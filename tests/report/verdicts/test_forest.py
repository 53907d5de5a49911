import math

import pytest

from rnnbench.analysis.estimate import Estimate
from rnnbench.report.verdicts.forest import CELLS, bar


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (1.0, 0.999, 1.001, "······┊·●·┊······"),
        (1.051, 1.042, 1.060, "······┊·│·┊━●━···"),
        (0.95, 0.93, 0.97, "··━━●━┿·│·┊······"),
        (1.0, 0.5, 2.0, "━━━━━━┿━●━┿━━━━━━"),  # cut at the ends
        (1.5, 1.4, 1.6, "······┊·│·┊·····▶"),
        (0.5, 0.4, 0.6, "◀·····┊·│·┊······"),
        (1.02, math.nan, math.nan, ""),  # from one replicate
        (0.0, 0.0, 0.0, ""),
    ],
)
def test_a_change_lies_between_the_margins_or_beyond(value: float, low: float, high: float, text: str) -> None:
    assert bar(Estimate(value, low, high), 0.025) == text


def test_all_bars_have_one_width_whatever_the_margin() -> None:
    widths = {len(bar(Estimate(1.1, 1.0, 1.2), margin)) for margin in (0.001, 0.025, 0.5)}
    assert widths == {2 * CELLS + 1}
    assert bar(None, 0.025) == bar(Estimate(1.1, 1.0, 1.2), 0.0) == ""

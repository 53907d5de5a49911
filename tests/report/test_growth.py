"""Growth: which runs have a curve, what is drawn, what is predicted."""

import numpy as np
import pandas as pd

from rnnbench.report import growth
from tests.analysis import made_up
from tests.report.conftest import Summaries, without_reference
from tests.report.test_ratios import drawn, legend, marked, titles


def test_every_prediction_is_called_one() -> None:
    sizes = {"batch_size": [8, 500], "seq_len": [32], "hidden_size": [100]}
    table = growth.table_of_predictions(made_up.summary(made_up.BOTH, noise=0.01), sizes)
    assert table.title == "Predicted, not measured"
    second = dict(zip(table.headers, table.rows[1], strict=True))
    assert second["notes"].startswith("not predicted; batch_size was measured from 1 to 64")
    assert second["predicted time"] == "—"
    assert set(table.frame["status"]) == {"predicted", "not predicted"}


def test_all_cells_are_in_one_panel_of_each_phase_and_the_held_sizes_stand_below(quick: pd.DataFrame) -> None:
    for cases in (quick, without_reference(quick)):
        figure = drawn(growth.growth, cases, value="seconds", along="seq_len")
        assert titles(figure) == ["inference", "training"]
        assert {"lstm hoisted", "gru hoisted"} <= set(legend(figure))
    assert figure.axes[0].get_xlabel() == "length\n(batch 1, hidden 64)"
    assert {"torch.nn.LSTM", "torch.nn.GRU"} <= set(legend(drawn(growth.growth, quick, value="seconds")))
    assert not any(name.startswith("torch.nn") for name in legend(drawn(growth.growth, quick)))


def test_a_line_goes_through_measured_cases_alone(quick: pd.DataFrame) -> None:
    figure = drawn(growth.growth, quick.query("reference == 'lstm' and phase == 'inference'"), along="hidden_size")
    own = quick.query("cell == 'lstm' and phase == 'inference' and batch_size == 1 and seq_len == 16")
    expected = {tuple(cases.sort_values("hidden_size")["ratio"]) for _, cases in own.groupby("implementation")}
    shown = [tuple(np.asarray(line.get_ydata())) for line in marked(figure.axes[0])]
    assert len(shown) == 2
    assert set(shown) <= expected


def test_a_size_that_is_too_seldom_varied_has_no_panel(made_up: Summaries) -> None:
    quick = made_up("quick")
    third = quick[quick["hidden_size"] == 64].assign(hidden_size=128)
    assert growth.growth(quick, least=3) is None
    assert growth.growth(pd.concat([quick, third.assign(ratio=float("nan"))], ignore_index=True), least=3) is None
    assert drawn(growth.growth, pd.concat([quick, third], ignore_index=True), least=3)
    figure = drawn(growth.growth, made_up("cpu").query("reference == 'lstm'"), least=3)
    assert {axes.get_xlabel().partition("\n")[0] for axes in figure.axes} == {"batch", "length", "hidden"}
    assert len({axes.get_ylim() for axes in figure.axes}) == 1

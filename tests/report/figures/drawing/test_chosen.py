import pandas as pd

from rnnbench.report.figures.drawing.chosen import plain_and_fastest
from rnnbench.report.words.series import with_series
from tests.report.conftest import Summaries


def kept(cases: pd.DataFrame, **how: int) -> set[str]:
    return set(plain_and_fastest(with_series(cases), "ratio", **how)["series"])


def test_of_each_cell_the_loop_and_the_fastest_are_left_and_all_references(made_up: Summaries) -> None:
    summary = made_up("ladder").query("reference == 'lstm' and phase == 'training'")
    medians = summary[summary["cell"] == "lstm"].groupby("implementation")["ratio"].median()
    fastest = medians.idxmin()
    assert fastest != "loop"
    assert kept(summary) == {"torch.nn.LSTM", "lstm loop", f"lstm {fastest}", "torch.nn.LSTMCell"}


def test_if_these_are_too_many_only_the_fastest_are_left(made_up: Summaries) -> None:
    summary = made_up("ladder").query("reference == 'rnn' and phase == 'training'")
    few = kept(summary, most=3)
    assert not any(name.endswith(" loop") for name in few)
    assert len(few) == 4  # vanilla, combined, torch.nn.RNNCell and the reference


def test_a_cell_without_a_value_is_left_out(made_up: Summaries) -> None:
    summary = made_up("quick").query("reference == 'rnn'")
    summary.loc[summary["cell"] == "combined", "ratio"] = float("nan")
    assert not any(name.startswith("combined") for name in kept(summary))
    summary["ratio"] = float("nan")
    assert kept(summary) == {"torch.nn.RNN", "torch.nn.RNN, 3 layers"}

import pandas as pd

from rnnbench.report.figures import figure_ratio, figure_ratio_by_size
from rnnbench.report.words.pooled import pooled
from rnnbench.report.words.reference import is_reference
from rnnbench.report.words.series import with_series
from tests.report.conftest import Summaries


def own(summary: pd.DataFrame) -> pd.DataFrame:
    frame = with_series(summary)
    return frame[~is_reference(frame)]


def test_few_cases_are_left_as_they_are(quick: pd.DataFrame) -> None:
    cases = own(quick)
    same, words = pooled(cases, len(cases))
    assert same is cases
    assert words == ""


def test_many_are_pooled_to_medians_over_length_first_then_batch(made_up: Summaries) -> None:
    cases = own(made_up("cpu"))
    few, words = pooled(cases, len(cases) - 1)
    assert words == "median over length"
    keys = ["series", "phase", "threads", "batch_size", "hidden_size"]
    medians = cases.groupby(keys)["ratio"].median()
    assert few.set_index(keys)["ratio"].sort_index().equals(medians.sort_index())
    fewer, words = pooled(cases, 1)
    assert words == "median over length and batch"
    assert len(fewer) == len(cases.drop_duplicates(["series", "phase", "threads", "hidden_size"]))


def test_settings_are_never_pooled(made_up: Summaries) -> None:
    few, _ = pooled(own(made_up("cuda-full")), 1)
    assert few["dtype"].nunique() == 4


def test_figures_of_many_cases_say_what_they_pool(made_up: Summaries, monkeypatch) -> None:
    monkeypatch.setattr(figure_ratio_by_size, "MAX_BOXES", 100)
    monkeypatch.setattr(figure_ratio, "MANY", 3)
    summary = made_up("quick")
    heat, strips = figure_ratio_by_size.render(summary), figure_ratio.render(summary)
    titles = [axes.get_title(loc="left") for axes in heat.axes if axes.get_title(loc="left")]
    assert titles
    assert all("median over length" in title for title in titles)
    legend = [text.get_text() for text in strips.legends[0].get_texts()]
    assert {"half of the workloads", "all workloads", "median"} <= set(legend)

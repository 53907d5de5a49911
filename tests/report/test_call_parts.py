"""Where the time of a call goes, for made-up profiles."""

from dataclasses import replace

from rnnbench.report import call_parts
from rnnbench.store.profiles import CATEGORIES, Kernels, Profile
from tests.profiling.profiles import profile
from tests.report.test_figures import legend


def test_where_time_goes_has_a_bar_for_each_profile_that_worked_with_its_parts() -> None:
    noisy = replace(profile(backward=4e-5), times={**profile(backward=4e-5).times, "call": (9e-5, 1e-4, 11e-5)})
    every = replace(profile(), kernels=Kernels(6, dict.fromkeys(CATEGORIES, 1e-5)))
    profiles = {"gru loop": noisy, "all": every, "bad": Profile("bad", "failed", "why")}
    figure = call_parts.breakdowns(profiles)
    assert figure is not None
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["gru loop", "all"]
    assert {"forward", "backward"} <= {text.get_text() for text in figure.axes[0].texts}
    assert "matmuls" in legend(figure)
    assert call_parts.breakdowns({"bad": profiles["bad"]}) is None

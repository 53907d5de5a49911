import pytest

from rnnbench.analysis.runs.noise import Noise
from rnnbench.report.words.noise import noise_sentence


@pytest.mark.parametrize(
    ("floor", "drift", "words"),
    [
        (0.005, 0.01, "by ±0.5% "),
        (0.005, 0.01, "drifted by +1.0% from start to end: quiet enough"),
        (0.05, -0.02, "drifted by -2.0% from start to end: noisy"),
        (0.005, float("nan"), "for the worst twentieth): quiet enough"),
        (float("nan"), float("nan"), "not known"),
    ],
)
def test_the_noise_is_told_in_a_sentence(floor: float, drift: float, words: str) -> None:
    assert words in noise_sentence(Noise(floor, floor, 0, 4, drift))

import pytest

from rnnbench.analysis.runs.noise import Noise
from rnnbench.report.words.noise import noise_sentence, readiness


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


QUIET, NOISY, UNKNOWN = (Noise(floor, floor, 0, 4, 0.0) for floor in (0.005, 0.05, float("nan")))


@pytest.mark.parametrize(
    ("advice", "noise", "words"),
    [
        ([], QUIET, "Ready: no obstacle is known"),
        ([], NOISY, "This machine is noisy, and no cause is known"),
        ([], None, "No obstacle is known. How noisy this machine is was not measured."),
        ([], UNKNOWN, "No obstacle is known. How noisy this machine is was not measured."),
        (["stop it"], QUIET, "Change 1 thing before measuring here:"),
        (["stop it"], None, "Change 1 thing before measuring here:"),
        (["stop it", "unset it"], NOISY, "This machine is noisy. Change 2 things before measuring here:"),
    ],
)
def test_a_machine_is_ready_unless_it_is_noisy_or_there_is_something_to_change(
    advice: list[str], noise: Noise | None, words: str
) -> None:
    assert readiness(advice, noise).startswith(words)

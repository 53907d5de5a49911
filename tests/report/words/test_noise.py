from syrupy.assertion import SnapshotAssertion

from rnnbench.analysis.runs.noise import Noise
from rnnbench.report.words.noise import noise_sentence, readiness

NAN = float("nan")
KNOWN = {
    "quiet": Noise(0.005, 0.005, 0, 4, 0.01),
    "noisy": Noise(0.05, 0.05, 0, 4, -0.02),
    "quiet, and drift is not known": Noise(0.005, 0.005, 0, 4, NAN),
    "not known": Noise(NAN, NAN, 0, 4, NAN),
}


def test_the_noise_is_told_in_a_sentence(snapshot: SnapshotAssertion) -> None:
    assert {kind: noise_sentence(noise) for kind, noise in KNOWN.items()} == snapshot


def test_a_machine_is_ready_unless_it_is_noisy_or_there_is_something_to_change(snapshot: SnapshotAssertion) -> None:
    told = {
        f"{kind}, {len(advice)} to change": readiness(advice, noise)
        for kind, noise in (KNOWN | {"not measured": None}).items()
        for advice in ([], ["stop it"], ["stop it", "unset it"])
    }
    assert told == snapshot

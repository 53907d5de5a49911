import math

import pytest

from rnnbench.analysis.scaling.crossing import crossing
from rnnbench.analysis.scaling.fit import Fit, fits
from rnnbench.store.records import Workload

from . import made_up


def pair(slow: made_up.Law, noise: float = 0.0) -> tuple[Fit, Fit]:
    found = fits(made_up.summary({("torch.nn.LSTM", "torch.nn"): made_up.layer, ("lstm", "loop"): slow}, noise=noise))
    reference, own = found.found
    assert found.reference_of(own) is reference
    return own, reference


def test_the_length_at_which_cheap_calls_no_longer_pay_for_dear_steps_is_found() -> None:
    held = {"batch_size": 1, "hidden_size": 32, "input_size": 64}
    found = crossing(*pair(made_up.loop), "seq_len", held)

    def gap(steps: int) -> float:
        work = Workload("lstm", "inference", "many_to_many", 1, steps, 64, 32, 10, 1, "float32", "cpu", 1)
        return made_up.loop(work, made_up.macs(work)) - made_up.layer(work, made_up.macs(work))

    assert found.course == "becomes slower"
    assert gap(math.floor(found.value)) <= 0 <= gap(math.ceil(found.value))
    assert found.is_within
    assert found.held == held


def test_a_crossing_has_an_interval_that_noise_makes_wider() -> None:
    noisy = crossing(*pair(made_up.loop, noise=0.03), "seq_len")
    quiet = crossing(*pair(made_up.loop, noise=0.003), "seq_len")
    assert quiet.is_sure
    assert quiet.low < quiet.value < quiet.high
    assert not noisy.is_sure or noisy.high - noisy.low > quiet.high - quiet.low


@pytest.mark.parametrize(("factor", "course"), [(3.0, "slower"), (0.3, "faster")])
def test_what_is_slower_or_faster_everywhere_does_not_cross(factor: float, course: str) -> None:
    found = crossing(*pair(lambda work, macs: factor * made_up.layer(work, macs), noise=0.01), "batch_size")
    assert (found.course, found.is_sure) == (course, True)
    assert math.isnan(found.value)


def test_a_difference_within_the_interval_is_not_sure() -> None:
    found = crossing(*pair(lambda work, macs: 1.001 * made_up.layer(work, macs), noise=0.05), "batch_size")
    assert not found.is_sure

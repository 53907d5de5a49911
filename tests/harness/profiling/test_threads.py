"""A call on one thread, beside the same call on several."""

from collections.abc import Iterator

import pytest
import torch

from rnnbench.harness.profiling.threads import ARM, causes, one_thread
from rnnbench.workloads.phases import TimedCall


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("two_threads")
def test_the_arm_runs_on_one_thread_in_the_call_s_mode_and_restores_the_threads() -> None:
    seen: list[object] = []
    arm = one_thread(TimedCall(lambda: seen.append(torch.get_num_threads()), torch.inference_mode))[ARM]
    with arm.mode():
        arm.call()
        seen.append(torch.is_inference_mode_enabled())
    assert seen == [1, True]
    assert torch.get_num_threads() == 2
    with pytest.raises(ValueError, match="broken"), arm.mode():
        raise ValueError("broken")
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_the_cost_of_threads_is_what_one_thread_saves() -> None:
    (cause,) = causes({"call": (3.0, 4.0), ARM: (2.0, 5.0)})
    assert (cause.kind, cause.what, cause.calls, cause.seconds) == ("threads", "2 threads", 1, (1.0, -1.0))


@pytest.mark.usefixtures("one_thread")
def test_on_one_thread_there_is_nothing_to_compare() -> None:
    assert not one_thread(TimedCall(torch.get_num_threads, torch.no_grad))
    assert not list(causes({"call": (3.0,)}))

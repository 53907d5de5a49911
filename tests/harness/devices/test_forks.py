"""What keeps forks of a process from using CUDA, by a fake driver under torch's own code, and what a worker asks."""

import os
import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch

from rnnbench.harness.coordinator.origin import BY_NVML
from rnnbench.harness.worker.__main__ import why_unusable
from tests.doubles.fake_driver import FakeDriver

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks workers")
[VARIABLE] = BY_NVML


def in_a_fork(act: Callable[[], object]) -> str:
    """What this returns in a fork of this process, as text."""
    read, written = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(written, str(act()).encode())
        except Exception as error:
            os.write(written, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(written)
    with os.fdopen(read) as pipe:
        return pipe.read()


def context() -> str:
    torch.cuda.set_device(0)
    return "a context"


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    monkeypatch.delenv(VARIABLE, raising=False)
    # What other tests have left to do once CUDA is used, such as seeding each card.
    monkeypatch.setattr(torch.cuda, "_queued_calls", [])
    monkeypatch.setattr(torch.cuda, "_lazy_seed_tracker", type(torch.cuda._lazy_seed_tracker)())
    return FakeDriver().install(partial(monkeypatch.setattr, raising=False))


REFUSED = "Cannot re-initialize CUDA in forked subprocess"


@pytest.mark.parametrize(
    ("act", "by_nvml", "has_nvml", "is_fit"),
    [
        (lambda: None, False, True, True),
        (torch.cuda.device_count, False, True, True),
        (torch.cuda.device_count, False, False, False),
        (torch.cuda.is_available, False, True, False),
        (torch.cuda.is_available, True, True, True),
        (torch.cuda.is_available, True, False, False),
        (torch.cuda.get_arch_list, True, True, False),
        (context, True, True, False),
    ],
)
def test_a_fork_can_use_cuda_if_the_process_before_it_has_asked_nobody_but_nvml(
    driver: FakeDriver,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[], object],
    by_nvml: bool,
    has_nvml: bool,
    is_fit: bool,
) -> None:
    driver.has_nvml = has_nvml
    if by_nvml:
        monkeypatch.setenv(VARIABLE, "1")
    act()
    assert (why_unusable(["cuda"]), torch.cuda.is_initialized()) == ("", act is context)
    reason = in_a_fork(lambda: why_unusable(["cuda"]))
    assert (reason == "") == is_fit
    assert is_fit or "has used cuda before any worker was forked" in reason
    made = in_a_fork(context)
    assert made.startswith("a context" if is_fit else REFUSED)


def test_a_driver_that_was_used_without_torch_fails_in_a_fork_though_torch_knows_nothing_of_it(
    driver: FakeDriver,
) -> None:
    driver.use()
    assert in_a_fork(lambda: why_unusable(["cuda"])) == ""
    assert in_a_fork(torch.cuda.is_available) == "False"
    assert in_a_fork(context) == "CUDA error: initialization error"


def test_where_torch_does_not_tell_or_is_for_rocm_no_worker_is_forked(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = f"it is not known whether a fork can use cuda with torch {torch.__version__}"
    with monkeypatch.context() as patch:
        patch.delattr(torch.cuda, "_is_in_bad_fork")
        assert why_unusable(["cuda"]) == unknown
    monkeypatch.setattr(torch.version, "hip", "7.1")
    assert why_unusable(["cuda"]) == unknown

"""Which cases a worker refuses to build."""

import pytest

from rnnbench.harness import devices
from rnnbench.harness.devices import Cpu
from rnnbench.harness.worker.state import check_fits
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.prepare import least_bytes
from tests.doubles import workload as small


@pytest.mark.parametrize(("processes", "is_shared", "fits"), [(1, False, True), (2, False, False), (2, True, True)])
def test_two_processes_share_the_memory_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch, processes: int, is_shared: bool, fits: bool
) -> None:
    class Own(Cpu):
        memory_bytes = int(1.5 * least_bytes(small.workload()))

    Own.is_shared = is_shared
    monkeypatch.setattr(devices, "BACKENDS", {"cpu": Own})
    if fits:
        check_fits(small.case("vanilla"), processes)
        return
    with pytest.raises(Skip, match="for each of 2 processes"):
        check_fits(small.case("vanilla"), processes)

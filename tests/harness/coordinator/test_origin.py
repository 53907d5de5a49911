"""Workers that are forked from a real origin, which has imported torch."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from rnnbench.harness.coordinator.origin import PACKAGE_PARENT, REPLICATES, ForkedProcess, Origin, Origins
from rnnbench.harness.coordinator.process import OBSERVER, WorkerProcess, WorkerStart
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.coordinator.start import started
from rnnbench.harness.protocol import device
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Group
from rnnbench.suite.file import Settings
from tests.doubles import workload as small
from tests.harness.coordinator.conftest import Begin

WITH_DRIVER = Path(__file__).parents[2] / "doubles" / "with_driver"
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks workers"),
    pytest.mark.usefixtures("real_workers"),
]


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    origin = Origin(sys.executable, 7, preload=PACKAGE_PARENT)
    yield origin
    origin.close()


@pytest.fixture
def pair(origin: Origin, begin_worker: Begin) -> list[WorkerProcess]:
    return [begin_worker(layout=3, origin=origin) for _ in range(2)]


def test_workers_of_an_origin_share_its_addresses_and_hash_seed_and_are_children_of_this_process(
    pair: list[WorkerProcess],
) -> None:
    hellos = [worker.wait_ready() for worker in pair]
    assert hellos[0] == hellos[1]
    assert all(isinstance(worker._process, ForkedProcess) for worker in pair)
    processes = [psutil.Process(worker.pid) for worker in pair]
    assert len({process.environ()["PYTHONHASHSEED"] for process in processes}) == 1
    torch = [
        [line.addr for line in process.memory_maps(grouped=False) if "libtorch" in line.path] for process in processes
    ]
    assert torch[0] == torch[1] != []
    assert {process.ppid() for process in processes} == {psutil.Process().pid}


def test_a_forked_worker_that_dies_is_told_at_once_while_the_other_lives(pair: list[WorkerProcess]) -> None:
    for worker in pair:
        worker.wait_ready()
    psutil.Process(pair[0].pid).send_signal(signal.SIGSEGV)
    assert pair[0].request({"op": "release"}, 60.0)["reason"] == "the worker was killed by SIGSEGV"
    assert pair[1].request({"op": "release"}, 60.0)["ok"]


def test_a_forked_worker_has_the_folder_of_its_side(origin: Origin, begin_worker: Begin, tmp_path: Path) -> None:
    worker = begin_worker(folder=tmp_path, origin=origin)
    worker.wait_ready()
    assert psutil.Process(worker.pid).cwd() == str(tmp_path.resolve())


def test_an_interpreter_without_torch_is_told_as_without_an_origin(tmp_path: Path, begin_worker: Begin) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    python = str(tmp_path / "bin" / "python")
    with closing(Origin(python, 7)) as origin:
        worker = begin_worker("0", python=python, origin=origin)
        assert "No module named 'torch'" in worker.wait_ready()["reason"]


def test_a_worker_that_was_reaped_before_an_interrupt_could_note_it_ends_without_an_error(
    pair: list[WorkerProcess],
) -> None:
    pair[0].kill()
    os.waitpid(pair[0].pid, 0)
    pair[0].close()
    assert pair[0]._process.returncode == -signal.SIGKILL


def test_an_origin_that_hangs_is_ended_and_python_starts_the_worker(
    monkeypatch: pytest.MonkeyPatch, begin_worker: Begin
) -> None:
    monkeypatch.setattr("rnnbench.harness.coordinator.origin.START_SECONDS", 0.01)  # importing torch takes longer
    with closing(Origin(sys.executable, 7)) as origin:
        worker = begin_worker(origin=origin)
        assert isinstance(worker._process, subprocess.Popen)
        assert worker.wait_ready()["torch"]
        begin_worker(origin=origin)


@pytest.mark.parametrize("may_fork", [True, False])
def test_replicates_share_an_origin_only_with_a_few_others_and_what_can_not_be_forked_has_none(may_fork: bool) -> None:
    with closing(Origins(may_fork=may_fork, seed=1)) as origins:
        given = [origins.of_next_replicate() for _ in range(2 * REPLICATES + 1)]
    assert [given.index(origin) for origin in given] == (
        [0] * REPLICATES + [REPLICATES] * REPLICATES + [2 * REPLICATES] if may_fork else [0] * len(given)
    )
    assert (None in given) == (not may_fork)


def test_an_origin_goes_on_if_there_is_no_time_for_another_one() -> None:
    with closing(Origins(may_fork=True, seed=1)) as origins:
        given = [origins.of_next_replicate() for _ in range(REPLICATES)]
        assert origins.is_due
        origins.stay()
        assert not origins.is_due
        assert origins.of_next_replicate() is given[0]


def test_a_run_forks_its_replicates(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "test")
    group = Group(small.workload(), (small.case("vanilla"),))
    settings = Settings(replicates=2, max_replicates=2, windows=2, window_seconds=0.001, precision=None)
    workers: list[WorkerProcess] = []

    def start(name: str, how: WorkerStart) -> WorkerProcess:
        workers.append(WorkerProcess(name, how))
        return workers[-1]

    with started([group], settings, start_worker=start) as begun:
        Runner([group], settings, begun, folder, root=tmp_path).run()
    folder.close()
    timing = [worker for worker in workers if worker.name != OBSERVER]
    assert [type(worker._process) for worker in timing] == [ForkedProcess, ForkedProcess]


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file that says what a process with a fake driver does before it forks; see `tests/doubles/with_driver`."""
    file = tmp_path_factory.mktemp("driver") / "orders"
    file.write_text("ask")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_DRIVER", str(file))
        patch.setenv("PYTHONPATH", f"{WITH_DRIVER}{os.pathsep}{os.environ['PYTHONPATH']}")
        yield file


@pytest.fixture(scope="module")
def card_origin(orders: Path) -> Iterator[Origin]:
    with closing(Origin(sys.executable, 7, preload=PACKAGE_PARENT, kinds=["cuda"])) as origin:
        yield origin


def card_of(worker: WorkerProcess) -> dict[str, Any]:
    """What a worker says of the card, once it is ready."""
    assert worker.wait_ready()["cuda"] == "13.0"
    return dict(worker.request(device("cuda"), 60.0))


def test_a_forked_worker_uses_a_card_although_what_its_origin_imports_has_asked_torch_for_one(
    card_origin: Origin, begin_worker: Begin
) -> None:
    worker = begin_worker(origin=card_origin)
    assert card_of(worker)["uuid"] == "aaaa-1111"
    assert isinstance(worker._process, ForkedProcess)


def test_a_worker_whose_origin_has_used_the_driver_without_torch_says_that_there_is_no_card(
    card_origin: Origin, begin_worker: Begin, orders: Path
) -> None:
    orders.write_text("use")
    worker = begin_worker(origin=card_origin)
    assert isinstance(worker._process, ForkedProcess)
    assert card_of(worker)["reason"] == "torch finds no CUDA device or driver"


def test_a_fork_of_an_origin_that_torch_has_used_the_card_in_ends_before_it_begins_and_the_worker_is_started(
    card_origin: Origin, begin_worker: Begin, orders: Path
) -> None:
    orders.write_text("ask without NVML")
    worker = begin_worker(origin=card_origin)
    assert isinstance(worker._process, subprocess.Popen)
    assert card_of(worker)["uuid"] == "aaaa-1111"
    assert card_origin.fault == "what torch imports has used cuda before any worker was forked, so no fork can use it"

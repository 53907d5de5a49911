"""A real Slurm for the tests of this folder, and a suite that takes seconds."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rnnbench.slurm.sweep import run_by_slurm
from rnnbench.suite import suites
from tests.doubles.slurm_cluster import Cluster, Unavailable, cluster

SUITE = """
name = "tiny"

[measure]
replicates = 2
max_replicates = 2
windows = 2
window_seconds = 0.001
budget_seconds = 60

[[sweep]]
cell = "vanilla"
implementation = ["loop", "torch.nn"]
batch_size = [1, 2, 3]
seq_len = 2
input_size = 3
hidden_size = 4
device = "cpu"
"""
ONE_CORE = "cpus-per-task=1"  # jobs run at the same time, though they share cores
NEVER = "begin=now+1hour"  # jobs stay in the queue
Run = Callable[..., Path]


@pytest.fixture(scope="session")
def started_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster; `SLURM_CONF` is set so that Slurm's commands reach it."""
    try:
        with cluster(tmp_path_factory.mktemp("slurm")) as running, pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(running.conf))
            yield running
    except Unavailable as reason:
        pytest.skip(f"no Slurm: {reason}")


@pytest.fixture
def slurm(started_slurm: Cluster) -> Iterator[Cluster]:
    """The cluster; ends all jobs after a test, so that a failed test does not disturb the next ones."""
    yield started_slurm
    started_slurm.end_jobs()


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """The file of the suite."""
    file = tmp_path / "tiny.toml"
    file.write_text(SUITE)
    return file


@pytest.fixture
def run(slurm: Cluster, suite: Path, tmp_path: Path) -> Run:
    """Measure groups of the suite in this process, a job for each, and return the folder."""

    def measure(*options: str) -> Path:
        chosen = suites.read_suite(str(suite))
        return run_by_slurm(
            chosen,
            chosen.groups({}, None),
            chosen.measure,
            slurm_options=options,
            out=tmp_path / "results",
            command="rnnbench run tiny.toml",
            on_progress=lambda words: None,
        )

    return measure

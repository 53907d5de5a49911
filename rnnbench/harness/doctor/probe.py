"""A short run that shows how noisy this machine is."""

from collections.abc import Callable
from typing import Any

from rnnbench import suites
from rnnbench.analysis.runs.noise import Noise, noise
from rnnbench.analysis.runs.run_times import read
from rnnbench.expressions import parse_only
from rnnbench.harness.coordinator.session import run_suite
from rnnbench.harness.machine.scratch import scratch
from rnnbench.harness.turns.progress import Progress
from rnnbench.store.folder import read_info
from rnnbench.suite_file import Settings

CASES = ["cell=lstm,gru seq_len=16 hidden_size=64"]  # of the suite `quick`
SETTINGS = Settings(replicates=6, precision=None)


def probe(on_progress: Callable[[Progress], None]) -> tuple[dict[str, Any], Noise]:
    """The environment as a run records it, and the noise of a run of about 15 seconds that is not kept."""
    suite = suites.read("quick")
    groups = suite.groups(parse_only(CASES), None, most=None)
    with scratch("doctor") as out:
        command = "rnnbench doctor"
        folder = run_suite(suite, groups, SETTINGS, out=out, command=command, on_progress=on_progress)
        return read_info(folder).environment, noise(read(folder))

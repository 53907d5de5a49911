"""What a run says of all its parts together."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rnnbench.harness.slurm.jobs import PartStatus
from rnnbench.harness.slurm.outcome import SLURM, summed_up
from rnnbench.harness.slurm.parts import JobPart
from rnnbench.store.folder import RunFolder
from rnnbench.store.records import Measurement
from rnnbench.suite_file import Settings
from tests.doubles import stored
from tests.doubles import workload as small

SETTINGS = Settings(replicates=3, max_replicates=20, precision=0.02)


def part(path: Path, name: str, size: int, ratios: list[float]) -> PartStatus:
    """A part with one group, whose case takes these times as long as its reference, one value a replicate."""
    cases = small.case("gru", batch_size=size), small.reference_case("gru", batch_size=size)
    folder = RunFolder(path, name)
    for case in cases:
        folder.add_measurement(Measurement(case, "measured"))
    for replicate, ratio in enumerate(ratios):
        times = dict(zip(cases, (ratio, 1.0), strict=True))
        for order, (case, factor) in enumerate(times.items()):
            window = stored.window(case, replicate, [0.01 * factor], worker=f"{name}-{replicate:04d}", turns=2)
            folder.add_window(replace(window, order=order, started=10.0 * replicate))
    folder.write_info(replace(stored.INFO, seconds=6.0 * len(ratios), replicates=len(ratios), status="finished"))
    folder.close()
    return PartStatus(JobPart(name, cases))


def test_the_jobs_that_were_less_precise_than_asked_say_how_much_time_each_needs(tmp_path: Path) -> None:
    statuses = [part(tmp_path, "p00000", 1, [2.0, 2.0, 2.0]), part(tmp_path, "p00001", 2, [2.0, 2.1, 2.2, 2.0])]
    watch: Any = SimpleNamespace(statuses=statuses, left_out={}, seconds=1.0)
    info = replace(stored.INFO, environment={SLURM: {"options": {}}})
    [note] = summed_up(tmp_path, info, watch, SETTINGS, finished=True).notes
    found = re.fullmatch(
        r"precision: ±2% was not reached in 1 of 2 groups; about (.*) more would be enough in each job", note
    )
    assert found, note
    assert summed_up(tmp_path, info, watch, SETTINGS, finished=False).notes == []

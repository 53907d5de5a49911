"""A sweep of 200 cases on a local Slurm, undisturbed and disturbed: which windows are lost or doubled."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from rnnbench import load
from rnnbench.analysis.runs.run_times import read
from rnnbench.harness.slurm.parts import read_parts
from rnnbench.store.folder import parts, read_info
from tests.doubles.slurm_cluster import Cluster, Unavailable, cluster, kill_a_job, wait_until

REPLICATES = 2
GROUPS_PER_JOB = 10
AT_ONCE = 2
SUITE = f"""
name = "sweep"

[measure]
replicates = {REPLICATES}
max_replicates = {REPLICATES}
windows = 2
window_seconds = 0.002
budget_seconds = 600

[[sweep]]
cell = "vanilla"
implementation = ["loop", "torch.nn"]
phase = ["inference", "training"]
batch_size = {[*range(1, 11)]}
seq_len = {[*range(1, 6)]}
input_size = 4
hidden_size = 8
"""


def sweeps() -> pd.DataFrame:
    """One row for an undisturbed sweep and one for a disturbed sweep."""
    try:
        with tempfile.TemporaryDirectory() as root, cluster(Path(root)) as slurm:
            return pd.DataFrame([_sweep(slurm, Path(root) / str(number), bool(number)) for number in (0, 1)])
    except Unavailable as reason:
        sys.exit(f"slurm-sweep: there can be no Slurm here: {reason}")


def _sweep(slurm: Cluster, folder: Path, is_disturbed: bool) -> dict[str, object]:
    folder.mkdir()
    (folder / "sweep.toml").write_text(SUITE)
    command = [sys.executable, "-m", "rnnbench", "run", "sweep.toml", "--executor", "slurm"]
    options = ["cpus-per-task=1", f"array-parallelism={AT_ONCE}"]
    command += [word for option in options for word in ("--slurm-option", option)]
    command += ["--groups-per-job", str(GROUPS_PER_JOB)]
    started = time.monotonic()
    environment = slurm.environment | {"PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    if is_disturbed:
        wait_until(lambda: any(folder.glob("results/*/jobs.jsonl")), "the run")
        [file] = folder.glob("results/*/jobs.jsonl")
        kill_a_job(file.parent)
        slurm.restart_controller()
    if process.wait():
        sys.exit(f"rnnbench exited with {process.returncode}")
    seconds = time.monotonic() - started
    [path] = (folder / "results").iterdir()
    return {
        "sweep": "a job killed, the controller restarted" if is_disturbed else "left alone",
        **_found(path),
        "seconds": seconds,
    }


def _found(path: Path) -> dict[str, object]:
    """The outcome of the cases, and the cost of the sweep."""
    run, infos = read(path), [read_info(path, part) for part in parts(path)]
    expected = {case.key for part in read_parts(path) for case in part.cases}
    visits = run.replicates.groupby("case")["replicate"].nunique()
    times = [info.seconds or 0.0 for info in infos]
    before = [sum(info.stage_seconds.values()) for info in infos]
    measured = int(run.cases["status"].eq("measured").sum())
    return {
        "cases": len(expected),
        "jobs": len(infos),
        "jobs killed": sum(read_info(path).environment["slurm"]["jobs lost"].values()),
        "cases measured": measured,
        "of them in all replicates, once": int((visits == REPLICATES).sum()),
        "windows twice": int(load(path).windows.duplicated(["case", "worker", "order"]).sum()),
        "seconds of a job": sum(times) / len(times),
        "of these before the timing": sum(before) / len(before),
        "bytes a case": sum(file.stat().st_size for file in path.glob("*.json*")) / len(expected),
    }

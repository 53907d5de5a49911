"""Runs on a real Slurm, with faults."""

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rnnbench.analysis.runs.run_times import read
from rnnbench.errors import Interrupted, UserError
from rnnbench.slurm.watch import JobsProgress
from rnnbench.store.folder import read_info
from tests.doubles.slurm_cluster import WAIT_SECONDS, Cluster, kill_a_job, wait_until
from tests.doubles.stored import rows
from tests.slurm.conftest import NEVER, ONE_CORE, Run

pytestmark = pytest.mark.needs("slurm")


def start(suite: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `rnnbench run` on Slurm as a separate process."""
    command = [sys.executable, "-m", "rnnbench", "run", str(suite), "--executor", "slurm", *arguments]
    return subprocess.Popen(
        [*command, "--out", str(suite.parent / "results"), "--slurm-option", ONE_CORE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def the_run(suite: Path) -> Path:
    """The run's folder, once the process has submitted its jobs."""
    wait_until(lambda: any(suite.parent.glob("results/*/slurm/*_submission.sh")), "the run")
    return next(suite.parent.glob("results/*"))


def submitted(path: Path) -> int:
    """Return how many jobs were submitted."""
    return len(list((path / "slurm").glob("*_submission.sh")))


def measured_once(path: Path, replicates: int = 2) -> pd.DataFrame:
    """Check that each case was measured in each replicate and no window appears twice; return the run's frame."""
    frame = rows(path)
    assert set(frame["status"]) == {"measured"}
    assert not frame.duplicated(["case", "worker", "order"]).any()
    assert not frame.duplicated(["case", "replicate", "order"]).any()
    whole = read(path).replicates
    assert set(whole.groupby("case")["replicate"].nunique()) == {replicates}
    return frame


def test_a_killed_job_and_a_restarted_controller_lose_nothing_and_double_nothing(slurm: Cluster, suite: Path) -> None:
    process = start(suite, "--only", "batch_size=1,2", "--groups-per-job", "1")
    path = the_run(suite)
    wait_until(lambda: any(path.glob("slurm/*_log.err")), "a job")
    slurm.stop_controller()
    assert process.stderr is not None
    assert any("Unable to contact slurm controller" in line for line in process.stderr)  # reads until that line
    slurm.start_controller()
    kill_a_job(path)
    out, errors = process.communicate(timeout=3 * WAIT_SECONDS)
    assert process.returncode == 0, errors
    assert "4 cases measured" in out
    assert "2 of 2 jobs done, 1 lost" in errors
    frame = measured_once(path)
    assert frame["case"].nunique() == 4
    assert frame["worker"].str.match(r"p0000[01]-000\d$").all()
    info = read_info(path)
    assert info.status == "finished"
    assert info.environment["slurm"] == {
        "options": {"cpus_per_task": "1"},
        "jobs": 2,
        "nodes": ["a"],
        "nodes left out": [],
        "jobs lost": {"it was killed by signal 9": 1},
    }
    assert "1 job lost, since it was killed by signal 9" in info.notes


def test_resume_after_the_submitter_was_killed_waits_for_its_job_and_submits_none(slurm: Cluster, suite: Path) -> None:
    suite.write_text(suite.read_text().replace("replicates = 2", "replicates = 1"))
    process = start(suite, "--only", "batch_size=1")
    path = the_run(suite)
    wait_until(lambda: any(path.glob("slurm/*_log.err")), "the job")
    process.send_signal(signal.SIGSTOP)  # or the run might end before the other one begins
    other = start(suite, "--resume", str(path))
    assert "another rnnbench is writing to this run" in other.communicate()[1]
    process.kill()
    process.communicate()
    goes_on = start(suite, "--resume", str(path))
    out, errors = goes_on.communicate(timeout=2 * WAIT_SECONDS)
    assert goes_on.returncode == 0, errors
    assert "2 cases measured" in out
    assert submitted(path) == 1
    measured_once(path, replicates=1)


def test_ctrl_c_cancels_the_jobs_and_exits_with_130_in_one_line(slurm: Cluster, suite: Path) -> None:
    process = start(suite, "--slurm-option", NEVER)
    path = the_run(suite)
    wait_until(lambda: path.name in slurm.tell("squeue", "-h", "-o", "%j"), "the jobs")
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    [*_, last] = errors.splitlines()
    message = "rnnbench: interrupted; its jobs are cancelled; what was measured is in"
    assert last == f"{message} {path} and can be resumed with --resume"
    assert path.name not in slurm.tell("squeue", "-h", "-o", "%j")
    assert read_info(path).status == "interrupted"
    assert set(rows(path)["reason"]) == {"no job came to it"}


def test_jobs_that_can_never_start_are_told_with_slurms_reason(run: Run) -> None:
    troubles: list[str] = []

    def look(progress: JobsProgress) -> None:
        troubles.append(progress.trouble)
        if "PartitionTimeLimit" in progress.trouble:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run("partition=short", "cpus-per-task=1", on_progress=look)
    assert re.fullmatch(r"Slurm has job \d+ wait: PartitionTimeLimit", troubles[-1])


@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        (["partition=nope"], {}, r"invalid partition specified: nope|Invalid partition name"),
        (["partitoin=main"], {}, "unrecognized option '--partitoin=main'"),
        (["partition=bare", ONE_CORE], {"device": "cuda"}, "takes no such job: .*node configuration is not available"),
    ],
)
def test_what_slurm_does_not_take_is_told_and_leaves_nothing(
    run: Run, tmp_path: Path, options: list[str], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words) as fault:
        run(*options, **settings)
    assert len(str(fault.value).splitlines()) == 1
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").iterdir())


def test_without_slurm_or_submitit_it_is_said_what_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)
        with pytest.raises(UserError, match=r"needs submitit: pip install 'rnnbench\[slurm\]'"):
            run()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="no sbatch on PATH"):
        run()

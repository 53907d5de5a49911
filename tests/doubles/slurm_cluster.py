"""A Slurm cluster of two nodes on this machine's loopback interface: `a`, and `b` of another kind, with one core."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
WAIT_SECONDS = 120.0  # for a daemon or a job, on a busy machine
CPUS = 4  # of each node, whatever this machine has, so that jobs of one core run at the same time


class Unavailable(Exception):
    """This machine can run no cluster; the message says why."""


class Cluster:
    """The daemons of one cluster; `SLURM_CONF` must name `conf` for commands to reach them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.conf = root / "slurm.conf"
        self._path = os.environ["PATH"]  # it may be ended after a test that finds no programs
        self._ports = free_ports(3)
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._controller: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start all daemons, and wait until jobs can run."""
        self._write_conf()
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {name: self.root / f"munge.{name}" for name in ("socket", "pid", "seed", "log")}
        options = [f"--{name}-file={files[name]}" for name in ("pid", "seed", "log")]
        munged = ["munged", "--force", "--foreground", f"--key-file={key}", f"--socket={files['socket']}", *options]
        self._daemons.append(self._spawn(munged, "munged"))
        wait_until(files["socket"].exists, "munged")
        self.start_controller()
        one_core = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]  # which its jobs inherit
        for node, under in (("a", []), ("b", one_core)):
            self._daemons.append(self._spawn([*under, "slurmd", "-D", "-N", node], f"slurmd-{node}"))
        wait_until(
            lambda: {"a idle", "b idle"} <= {*self.tell("sinfo", "-h", "-N", "-o", "%N %T").splitlines()}, "nodes"
        )

    def start_controller(self) -> None:
        """Start the controller with the state that it had before."""
        self._controller = self._spawn(["slurmctld", "-D"], "slurmctld")
        wait_until(lambda: "UP" in self.tell("scontrol", "ping"), "slurmctld")

    def stop_controller(self) -> None:
        """Stop the controller as an administrator would."""
        if self._controller is not None:
            end(self._controller)
            self._controller = None

    def stop(self) -> None:
        """End all jobs and all daemons."""
        if self._controller is not None:
            self.end_jobs()
        self.stop_controller()
        for daemon in reversed(self._daemons):
            end(daemon)

    def end_jobs(self) -> None:
        """Cancel all jobs and wait until none is left."""
        self.tell("scancel", "--user=root")
        wait_until(lambda: self.tell("squeue", "-h") == "", "the jobs' ends")

    def preempt(self) -> None:
        """Submit a job that needs node `b` as a whole, takes no time, and comes before all others."""
        self.tell("sbatch", "--partition=urgent", f"--cpus-per-task={CPUS}", "--output=/dev/null", "--wrap=true")

    def tell(self, *command: str) -> str:
        """The output of one of Slurm's commands."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which Slurm's commands reach this cluster."""
        return os.environ | {"SLURM_CONF": str(self.conf), "PATH": self._path}

    def _spawn(self, command: Sequence[str], name: str) -> subprocess.Popen[bytes]:
        with (self.root / f"{name}.out").open("ab") as out:
            return subprocess.Popen(command, env=self.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    def _write_conf(self) -> None:
        host, root, ports = socket.gethostname(), self.root, self._ports
        (root / "state").mkdir()
        lines = f"""
            ClusterName=test
            SlurmctldHost={host}(127.0.0.1)
            SlurmctldPort={ports[0]}
            AuthInfo=socket={root}/munge.socket
            SlurmUser=root
            StateSaveLocation={root}/state
            SlurmdSpoolDir={root}/spool-%n
            SlurmctldPidFile={root}/slurmctld.pid
            SlurmdPidFile={root}/slurmd-%n.pid
            SlurmctldLogFile={root}/slurmctld.log
            SlurmdLogFile={root}/slurmd-%n.log
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_Core
            SlurmdParameters=config_overrides
            SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
            MessageTimeout=2
            KillWait=5
            PreemptType=preempt/partition_prio
            PreemptMode=REQUEUE
            GresTypes=gpu
            NodeName=a NodeHostname={host} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory=4000 Port={ports[1]}
            NodeName=b NodeHostname=b NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory=20000 Port={ports[2]} Gres=gpu:1
            PartitionName=main Nodes=a Default=YES
            PartitionName=both Nodes=a,b
            PartitionName=urgent Nodes=b PriorityTier=9
        """
        self.conf.write_text("\n".join(map(str.strip, lines.splitlines())))
        (root / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        (root / "gres.conf").write_text("NodeName=b Name=gpu File=/dev/null\n")  # no card, but jobs can ask for it


@contextmanager
def cluster(root: Path) -> Iterator[Cluster]:
    """A running cluster whose files are in `root`; raises Unavailable."""
    missing = [command for command in COMMANDS if shutil.which(command) is None]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        raise Unavailable("Slurm's daemons need root")
    running = Cluster(root)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; raises TimeoutError."""
    end = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {WAIT_SECONDS:g} s for {what}")
        time.sleep(0.05)


def kill_a_job(path: Path) -> None:
    """Kill the process of a job that has measured something; its workers end with it."""
    wait_until(lambda: any(path.glob("windows-*-0000.jsonl")), "the first window")
    part = next(path.glob("windows-*-0000.jsonl")).name.split("-")[1]
    for process in psutil.process_iter(["cmdline"]):
        is_one = (process.info["cmdline"] or [])[-2:] == ["submitit.core._submit", str(path / "slurm")]
        if is_one and process.environ()["SLURM_JOB_NAME"].endswith(part):
            process.kill()
            return
    raise LookupError(part)


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process, and kill it if it does not end."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

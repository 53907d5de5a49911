"""Commands and workers of rnnbench in processes forked from one that has imported what they import.

A start then takes 50 ms of a processor: 1 s less for a command, 1.3 s less for a worker. Each process of tests has a
server (`python -m tests.doubles.forks`), which starts no thread and calls nothing of torch. It forks itself for each
command and each worker, which take over the given streams, folder, environment and arguments, and are then as good as
`python -m rnnbench` and as a worker that Python started. A command has not imported torch, and forks its own workers.

A worker is the child of the process that asked for it. It has the hash seed and the addresses of the server, so tests
of what belongs to the start itself use the fixture `real_workers`.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn
from unittest import mock

from rnnbench.harness.coordinator.origin import COMPILE_ALONE, PACKAGE_PARENT, STARTER, Origin
from rnnbench.harness.coordinator.process import WorkerProcess
from rnnbench.harness.machine.variables import FULL_PRECISION
from rnnbench.harness.worker.__main__ import PRELOADED, TORCH, serve, work

ROOT = Path(__file__).parents[2]
STARTED = [sys.executable, "-m", "rnnbench"]
OF_COMMANDS = (
    "rnnbench.cli",
    "rnnbench.analysis.compare_files",
    "rnnbench.check.check",
    "rnnbench.check.sides",
    "rnnbench.harness.coordinator.session",
    "rnnbench.report.page.run",
    "rnnbench.report.export",
    "rnnbench.report.screen.progress",
    "rnnbench.report.screen.terminal",
    "rnnbench.report.verdicts.outputs",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "jinja2",
    "scipy.stats",
)
# Variables that Python, the linker, OpenMP, torch or coverage reads only when it starts.
AT_START = ("PYTHON", "LC_", "LANG", "COVERAGE", "LD_", "OMP_", "TORCH_", "CUDA_VISIBLE_DEVICES")
ENCODING = "PYTHONIOENCODING"  # which a copy obeys
FREE = {ENCODING, "PYTHONHASHSEED", "TORCH_EXTENSIONS_DIR"}
MAX_MESSAGE = 1 << 17
SECONDS = 120.0
BROKEN_STREAM = 120  # Python's exit code if standard output can't be written in the end
_started_with: dict[str, str] = {}  # the environment of the server
_server: list[tuple[list[socket.socket], "subprocess.Popen[bytes]"]] = []
_one_request = threading.Lock()
_start = WorkerProcess._start


def run(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a command and return what it printed."""
    with tempfile.TemporaryFile("w+b") as out, tempfile.TemporaryFile("w+b") as err:
        code = exit_code(arguments, folder, environment, out, err)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode().replace("\r\n", "\n"))
    return subprocess.CompletedProcess([*STARTED, *arguments], code, *texts)


def exit_code(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    out: IO[bytes] | int | None,
    err: IO[bytes] | int | None,
) -> int:
    """Run a command with these streams (None: closed) and return its exit code; raises TimeoutExpired."""
    files = [file if file is None or isinstance(file, int) else file.fileno() for file in (out, err)]
    if _differs_at_start(environment):
        return _started_anew(arguments, folder, environment, files)
    request = {
        "arguments": list(arguments),
        "folder": str(folder),
        "environment": dict(environment),
        "closed": [number for number, file in enumerate(files, 1) if file is None],
        "forks_workers": _forks_workers(),
    }
    with _one_request, Path(os.devnull).open("r+b") as null:
        connection = _connection(0)
        streams = [null.fileno(), *(null.fileno() if file is None else file for file in files)]
        socket.send_fds(connection, [json.dumps(request).encode()], streams)
        process = int(connection.recv(MAX_MESSAGE))
        connection.settimeout(SECONDS)
        try:
            return int(connection.recv(MAX_MESSAGE))
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            connection.recv(MAX_MESSAGE)
            raise subprocess.TimeoutExpired([*STARTED, *arguments], SECONDS) from None
        finally:
            connection.settimeout(None)


def fork_workers(connection: Callable[[], socket.socket] | None = None) -> None:
    """From now on, fork the workers that this process starts.

    `connection` returns that to the server; by default it is this process's own, which starts with the first worker.
    """
    _started_with.update(os.environ)
    if sys.platform != "linux":
        return

    def start(worker: WorkerProcess) -> None:
        if worker._command == [sys.executable, "-P", str(STARTER)] and not _differs_at_start(worker._environment):
            worker._origin = _Server(connection or _connection, worker._environment)
        _start(worker)

    WorkerProcess._start = start  # type: ignore[method-assign, assignment]


class _Server(Origin):
    """The server, as the origin of a worker."""

    def __init__(self, connection: Callable[[], socket.socket], environment: Mapping[str, str]) -> None:
        super().__init__(sys.executable, 0)
        self._connect, self._environment = connection, environment

    def _start(self) -> None:
        self._connection = self._connect()

    def fork(self, started_with: Mapping[str, Any], relay: Mapping[str, int], **places: Any) -> Any:
        places["variables"] = {**self._environment, **places["variables"]}
        return super().fork(started_with, relay, **places)


@contextlib.contextmanager
def real_workers() -> Iterator[None]:
    """Let Python start the workers of this process and of the commands that it runs."""
    with mock.patch.object(WorkerProcess, "_start", _start):
        yield


def _forks_workers() -> bool:
    return WorkerProcess._start is not _start


def _differs_at_start(environment: Mapping[str, str]) -> bool:
    """Return True if a Python with this environment would start in another way than the server did."""
    names = {name for name in (*environment, *_started_with) if name.startswith(AT_START)} - FREE
    is_covered = any(name.startswith("COVERAGE") or "covered" in environment.get(name, "") for name in names)
    return is_covered or any(environment.get(name) != _started_with.get(name) for name in names)


def _started_anew(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], files: Sequence[int | None]
) -> int:
    redirections = " ".join(f"{number}>&-" for number, file in enumerate(files, 1) if file is None)
    line = ["bash", "-c", f'exec "$@" {redirections}', "bash", *STARTED, *arguments]
    out, err = files
    done = subprocess.run(line, cwd=folder, env=environment, stdout=out, stderr=err, timeout=SECONDS, check=False)
    return done.returncode


def _connection(number: int = 1) -> socket.socket:
    """Return a connection to this process's server, which starts with the first command (0) or worker (1)."""
    if not _server:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        theirs = [pair[1].fileno() for pair in pairs]
        server = subprocess.Popen(
            [sys.executable, "-m", __name__, *map(str, theirs)],
            cwd=ROOT,
            env=_started_with | COMPILE_ALONE | FULL_PRECISION,
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
        )
        for pair in pairs:
            pair[1].close()
        _server.append(([pair[0] for pair in pairs], server))
        atexit.register(_end)
    return _server[0][0][number]


def _end() -> None:
    connections, server = _server.pop()
    for connection in connections:
        connection.close()  # the server ends with it
    server.wait(timeout=10)


def _main(commands: int, workers: int) -> None:
    for module in OF_COMMANDS:
        importlib.import_module(module)
    assert "torch" not in sys.modules, "no command imports torch"
    known = set(sys.modules)
    for module in (*TORCH, *PRELOADED):
        importlib.import_module(module)
    gc.freeze()  # forks look through none of it
    if os.fork() == 0:
        os.close(commands)
        _serve_workers(socket.socket(fileno=workers))
    os.close(workers)
    _serve_commands(socket.socket(fileno=commands), known)


def _serve_commands(connection: socket.socket, known: set[str]) -> NoReturn:
    """Fork a command for each request, until the tests end. `known`: the modules that it may have imported."""
    while True:
        message, streams, _, _ = socket.recv_fds(connection, MAX_MESSAGE, 3)
        if not message:
            os._exit(0)
        process = os.fork()
        if process == 0:
            _become_command(connection, json.loads(message), streams, known)
        for stream in streams:
            os.close(stream)
        connection.send(str(process).encode())
        _, status = os.waitpid(process, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _serve_workers(connection: socket.socket) -> NoReturn:
    """Be the origin of workers, and in each of these do its work."""
    started_with = serve(connection)
    for name in os.environ.keys() - started_with["variables"].keys():
        del os.environ[name]
    tempfile.tempdir = None  # it was chosen for the server's environment
    sys.argv, sys.path[:] = [str(STARTER)], sys.path[1:]
    if started_with["paths"][0] != str(PACKAGE_PARENT):
        _forget(sys.modules, "rnnbench")
    _do_and_end(lambda: work(**started_with))


def _become_command(
    connection: socket.socket, request: Mapping[str, Any], streams: Sequence[int], known: set[str]
) -> NoReturn:
    """Run the command in this process, and end it."""
    if request["forks_workers"]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            for end in (connection.fileno(), ours.fileno(), *streams):
                os.close(end)
            _serve_workers(theirs)
        theirs.close()
        fork_workers(lambda: ours)
    connection.close()
    _forget(sys.modules.keys() - known, "torch", "rnnbench")

    def run_command() -> None:
        _take_over(request, streams)
        sys.argv = [str(ROOT / "rnnbench" / "__main__.py"), *request["arguments"]]
        from rnnbench import cli

        cli.main()

    _do_and_end(run_command)


def _forget(modules: Iterable[str], *packages: str) -> None:
    """Let modules of these packages be imported again."""
    for name in [name for name in modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


def _do_and_end(work: Callable[[], None]) -> NoReturn:
    """Call and end this process as Python would."""
    code: object = 1
    try:
        work()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            code = BROKEN_STREAM
    os._exit(code if isinstance(code, int) else 1)


def _take_over(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # it was chosen for the server's environment
    # Out of the way first: a stream may have come with the number of another one.
    kept = [fcntl.fcntl(stream, fcntl.F_DUPFD, 1000) for stream in streams]
    for stream in streams:
        os.close(stream)
    for number, stream in enumerate(kept):
        os.dup2(stream, number)
        os.close(stream)
    for number in request.get("closed", ()):
        os.close(number)
    # What Python keeps of its first streams, too: rnnbench guards only these.
    sys.stdin = sys.__stdin__ = _stream(0, "r")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w")  # type: ignore[misc]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _stream(number: int, mode: str) -> io.TextIOWrapper | None:
    """Open a standard stream as Python does; returns None if it is closed."""
    with contextlib.suppress(OSError):
        os.fstat(number)
        errors = "backslashreplace" if number == 2 else "strict"
        file = open(number, f"{mode}b", closefd=False)  # noqa: SIM115 - a descriptor, for as long as the process lives
        encoding = os.environ.get(ENCODING, "utf-8")
        return io.TextIOWrapper(file, encoding, errors, line_buffering=number == 2 or os.isatty(number))
    return None


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:]))

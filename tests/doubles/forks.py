"""Commands of rnnbench in processes forked from one that has imported it: a start takes 50 ms of a processor, not 1 s.

Each process of tests has a server (`python -m tests.doubles.forks`), which imports what commands import and forks a
copy of itself for each command. The copy takes over the given streams, folder, environment and arguments, and is then
as good as `python -m rnnbench`. The server starts no thread and never imports torch, as no command does.
"""

import atexit
import contextlib
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
STARTED = [sys.executable, "-m", "rnnbench"]
PRELOADED = (
    "rnnbench.cli",
    "rnnbench.analysis.compare_files",
    "rnnbench.harness.check.baseline",
    "rnnbench.harness.check.check",
    "rnnbench.harness.check.sides",
    "rnnbench.harness.coordinator.session",
    "rnnbench.report.page.run_folder",
    "rnnbench.report.export",
    "rnnbench.report.screen.progress",
    "rnnbench.report.screen.terminal",
    "rnnbench.report.verdicts.folder",
    "rnnbench.report.verdicts.terminal",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "jinja2",
    "scipy.stats",
)
AT_START = ("PYTHON", "LC_", "LANG", "COVERAGE")  # variables that Python, or coverage, reads only when it starts
ENCODING = "PYTHONIOENCODING"  # which a copy obeys
MAX_MESSAGE = 1 << 17
SECONDS = 120.0
BROKEN_STREAM = 120  # Python's exit code if standard output can't be written in the end
_server: list[tuple[socket.socket, "subprocess.Popen[bytes]"]] = []


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
    closed = [number for number, file in enumerate(files, 1) if file is None]
    request = {
        "arguments": list(arguments),
        "folder": str(folder),
        "environment": dict(environment),
        "closed": closed,
    }
    connection = _connection()
    with Path(os.devnull).open("r+b") as null:
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


def _differs_at_start(environment: Mapping[str, str]) -> bool:
    """Whether a Python with this environment would start in another way than the server did."""
    names = {name for name in (*environment, *os.environ) if name.startswith(AT_START)} - {ENCODING}
    is_covered = any(name.startswith("COVERAGE") or "covered" in environment.get(name, "") for name in names)
    return is_covered or any(environment.get(name) != os.environ.get(name) for name in names)


def _started_anew(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], files: Sequence[int | None]
) -> int:
    redirections = " ".join(f"{number}>&-" for number, file in enumerate(files, 1) if file is None)
    line = ["bash", "-c", f'exec "$@" {redirections}', "bash", *STARTED, *arguments]
    out, err = files
    done = subprocess.run(line, cwd=folder, env=environment, stdout=out, stderr=err, timeout=SECONDS, check=False)
    return done.returncode


def _connection() -> socket.socket:
    """The connection to this process's server, which starts with the first command."""
    if not _server:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.doubles.forks", str(theirs.fileno())]
        server = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        _server.append((ours, server))
        atexit.register(_end)
    return _server[0][0]


def _end() -> None:
    connection, server = _server.pop()
    connection.close()  # the server ends with it
    server.wait(timeout=10)


def serve(descriptor: int) -> None:
    """Fork a process for each request, until the tests end."""
    connection = socket.socket(fileno=descriptor)
    for module in PRELOADED:
        importlib.import_module(module)
    assert "torch" not in sys.modules, "no command imports torch"
    while True:
        message, streams, _, _ = socket.recv_fds(connection, MAX_MESSAGE, 3)
        if not message:
            return
        process = os.fork()
        if process == 0:
            connection.close()
            _become_command(json.loads(message), streams)
        for stream in streams:
            os.close(stream)
        connection.send(str(process).encode())
        _, status = os.waitpid(process, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become_command(request: Mapping[str, object], streams: Sequence[int]) -> None:
    """Run the command in this process, and end it."""
    code: object = 1
    try:
        _take_over(request, streams)
        from rnnbench import cli

        try:
            cli.main()
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


def _take_over(request: Mapping[str, object], streams: Sequence[int]) -> None:
    folder, environment, arguments, closed = (
        request[name] for name in ("folder", "environment", "arguments", "closed")
    )
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    assert isinstance(closed, list)
    os.chdir(str(folder))
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # it was chosen for the server's environment
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number in closed:
        os.close(number)
    # What Python keeps of its first streams, too: rnnbench guards only these.
    sys.stdin = sys.__stdin__ = _stream(0, "r")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w")  # type: ignore[misc]
    sys.argv = [str(ROOT / "rnnbench" / "__main__.py"), *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _stream(number: int, mode: str) -> io.TextIOWrapper | None:
    """A standard stream as Python opens it; None if it is closed."""
    with contextlib.suppress(OSError):
        os.fstat(number)
        errors = "backslashreplace" if number == 2 else "strict"
        file = open(number, f"{mode}b", closefd=False)  # noqa: SIM115 - a descriptor, for as long as the process lives
        encoding = os.environ.get(ENCODING, "utf-8")
        return io.TextIOWrapper(file, encoding, errors, line_buffering=number == 2 or os.isatty(number))
    return None


if __name__ == "__main__":
    serve(int(sys.argv[1]))

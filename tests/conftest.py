"""Fixtures for all tests."""

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import pytest

from tests.doubles import audit_hooks, forks, programs
from tests.doubles.once import made_once

gc.disable()  # until all tests are collected

# On a shared machine one example may take any time.
hypothesis.settings.register_profile(
    "rnnbench",
    max_examples=30,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("rnnbench")

# Programs that tests start import rnnbench from this tree, from any folder and whether it is installed or not.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))

if "PYTEST_XDIST_WORKER" not in os.environ:  # its workers share this one's cache, and nothing touches the user's
    fonts = Path("~/.cache/matplotlib").expanduser()
    if fonts.is_dir():
        os.environ.setdefault("MPLCONFIGDIR", str(fonts))  # else matplotlib would look for all fonts again
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="rnnbench-tests-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
    programs.make_folder()

# On a shared machine two threads wait for each other longer than a test's calls take.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Else torch.compile builds six programs for each new cache, only to see that the compiler knows this processor.
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")
forks.fork_workers()
audit_hooks.end_hooks_with_their_objects()

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts pytest in the background ignores SIGINT, and programs that a test interrupts inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # `nohup` ignores SIGHUP in the same way.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# What a test may need beside Python's packages: its commands, and how they are installed.
PROGRAMS = {
    "actionlint": (["actionlint"], "go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"),
    "chromium": (["chromium"], "apt-get install chromium"),
    "slurm": (["munged", "slurmctld", "slurmd", "sbatch"], "apt-get install munge slurmctld slurmd slurm-client"),
    "jq": (["jq"], "apt-get install jq"),
    "latex": (["pdflatex"], "apt-get install texlive-latex-recommended"),
    "valgrind": (["valgrind", "vgdb"], "apt-get install valgrind"),
}
MISSING = "there is no"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a program in one process, and skip them if the program is missing; those of a GPU run alone."""
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.alone)
        for mark in item.iter_markers("needs"):
            commands, remedy = PROGRAMS[mark.args[0]]
            item.add_marker(pytest.mark.xdist_group(mark.args[0]))
            if not all(map(shutil.which, commands)):
                item.add_marker(pytest.mark.skip(reason=f"{MISSING} {mark.args[0]}: {remedy}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hide what a fresh machine lacks from each test without the mark `needs`, and from its fixtures."""
    if item.get_closest_marker("needs"):
        return (yield)
    with programs.only_those_of_a_fresh_machine():
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write a line for each program that is missing."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, tests in reasons.items():
        if reason.startswith(MISSING):
            terminalreporter.line(f"{tests} tests were skipped because {reason}")


def pytest_collection_finish() -> None:
    """Keep Python's search for unreachable objects from walking through all modules and tests a thousand times."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 10, 10)


# The smallest PNG: one grey pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b5500"
    "00000a49444154789c636800000082008177cd72b60000000049454e44ae426082"
)


@pytest.fixture(scope="session", autouse=True)
def _small_png() -> Iterator[None]:
    """Reports have a pixel for each PNG: drawing them takes as long as the SVG. `test_drawing.py` draws real ones."""
    from rnnbench.report.drawing import pictures

    with mock.patch.object(pictures, "png", _pixel):
        yield


@pytest.fixture(scope="session", autouse=True)
def _short_looks(request: pytest.FixtureRequest) -> Iterator[None]:
    """A look which core is quiet takes 16 pulses on each and not 400, where no test judges real times.

    A run looks before each visit, and on a shared machine for 50 ms, also if its workers are doubles.
    """
    from rnnbench.harness.machine import pulse

    judges_times = any(item.get_closest_marker("alone") for item in request.session.items)
    with mock.patch.object(pulse, "LEVEL_PULSES", pulse.LEVEL_PULSES if judges_times else 16):
        yield


def _pixel(figure: object) -> bytes:
    return PIXEL


@pytest.fixture(autouse=True)
def _own_layers() -> Iterator[None]:
    """Forget the C code that a test's kept folder has brought into this process: other tests build their own."""
    yield
    if recurrence := sys.modules.get("rnnbench.kernels.recurrence"):
        recurrence._given.clear()


@pytest.fixture(scope="session", autouse=True)
def _believed_rates() -> Iterator[None]:
    """The machine's rates that one run has measured are those of the next, also beside other tests.

    A run believes only those of a quiet core, so each would spend a second and more on them.
    """
    from rnnbench.harness.coordinator import kept_rates

    with mock.patch.object(kept_rates, "MOSTLY_QUIET", 0.0):
        yield


@pytest.fixture
def quick_compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A compiler that knows no graph yet, in one process; nothing stays in this process afterwards.

    Only its machine code is that of the whole test run, or of several if `RNNBENCH_TESTS_COMPILED` names a folder: a
    header of torch alone takes it 15 seconds.
    """
    import torch
    from torch._inductor import config
    from torch._inductor.utils import fresh_cache

    named = os.environ.get("RNNBENCH_TESTS_COMPILED")
    machine_code = named or made_once(tmp_path_factory, "machine-code", lambda folder: None)
    # By torch's own `patch`: pytest's monkeypatch would leave a setting of torch's without a value.
    with (
        fresh_cache(),
        mock.patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=str(machine_code)),
        torch.compiler.config.patch(cache_key_tag=uuid.uuid4().hex),  # type: ignore[attr-defined]
        config.patch(compile_threads=1),
    ):
        yield
    torch._dynamo.reset()


@pytest.fixture
def not_compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run compiled ways and implementations as plain Python."""
    from rnnbench.speedup import ways
    from rnnbench.workloads import compiled

    monkeypatch.setattr(compiled, "compiled", lambda function, *_: function)
    ways.way.cache_clear()
    yield
    ways.way.cache_clear()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run torch on one thread: on a shared machine two threads wait for each other longer than a test's calls take."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time live modules for two milliseconds a round, and profile them in two rounds, however steady the machine is.

    Where its cores are shared, the usual turns take several times as long, and rounds are added until times hold.
    """
    from rnnbench.harness.live.loop import LiveTurns
    from rnnbench.profiling import profile

    defaults: Any = LiveTurns.__init__.__kwdefaults__, profile.profile.__kwdefaults__
    monkeypatch.setitem(defaults[0], "case_seconds", 0.002)
    monkeypatch.setitem(defaults[1], "window_seconds", 0.001)
    monkeypatch.setitem(defaults[1], "rounds", 2)
    monkeypatch.setattr(profile, "MAX_ROUND_FACTOR", 1)


@pytest.fixture
def real_workers() -> Iterator[None]:
    """Let Python start the workers, which takes each a second more."""
    with forks.real_workers():
        yield

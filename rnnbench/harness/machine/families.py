"""Processes that are ended with all that they have started, as a compilation is whose time is over."""

import contextlib
import itertools
import os
import re
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

# Programs that write a file under its last name, such as x86_64-linux-gnu-g++-12.
COMPILER_NAMES = r"cc|gcc|c\+\+|g\+\+|clang|clang\+\+|cc1|cc1plus|lto1|collect2|as|ld|ld\.\w+|lld"
COMPILERS = re.compile(rf"(.*-)?({COMPILER_NAMES})(-[\d.]+)?")


def end_family(leader: int) -> None:
    """End a child of this process, which leads a group, and all that it has started; it is still to be waited for.

    A compiler or linker that is ended leaves a file that looks finished, and would be found by the next one. So what
    the processes were writing (`-o FILE`) is removed. They are stopped before, so that none begins something else.
    """
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):  # it has ended
        family = [psutil.Process(leader), *psutil.Process(leader).children(recursive=True)]
    # The group cannot be another's: its leader has not been waited for.
    _signal_group(leader, signal.SIGSTOP)
    with contextlib.suppress(psutil.Error):
        family += psutil.Process(leader).children(recursive=True)
    unfinished = outputs_of(family)
    _signal_group(leader, signal.SIGKILL)
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()
    for file in unfinished:
        file.unlink(missing_ok=True)


def outputs_of(processes: Iterable[psutil.Process]) -> set[Path]:
    """Return the files that compilers and linkers among the processes are about to write."""
    outputs = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it has ended, so its file is finished
            words = process.cmdline()
            folder = process.cwd()
            if words and COMPILERS.fullmatch(Path(words[0]).name):
                outputs |= {Path(folder, after) for word, after in itertools.pairwise(words) if word == "-o"}
    return {file for file in outputs if not file.is_dir()}


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
    with contextlib.suppress(ProcessLookupError):
        os.kill(leader, number)

"""Workers that tests start, forked from one process that has imported torch, which saves more than a second each.

So are those of a check, which would start an origin of its own for a few pairs. All have the hash seed and the
addresses of that process. Tests of what belongs to the start itself use the fixture `real_workers`.
"""

import atexit
import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from rnnbench.harness.coordinator.origin import PACKAGE_PARENT, Origin, Origins, worker_environment
from rnnbench.harness.coordinator.process import USUAL_START, WorkerProcess, WorkerStart

# Variables that Python, the linker, OpenMP, torch or coverage reads only when it starts.
AT_START = ("PYTHON", "LC_", "LANG", "COVERAGE", "LD_", "OMP_", "CUDA_VISIBLE_DEVICES")
_started_with: dict[str, str] = {}  # the environment of the origin
_origin = Origin(sys.executable, 0, preload=PACKAGE_PARENT, kinds=["cuda"])
_start, _renew = WorkerProcess.__init__, Origins._renew


def fork_workers() -> None:
    """From now on, fork the workers that this process starts. The origin starts with the first one."""
    is_covered = "covered" in os.environ.get("PYTHONPATH", "")  # `make coverage` records what Python starts
    if sys.platform == "linux" and not is_covered:
        _started_with.update(os.environ)
        atexit.register(_origin.close)
        WorkerProcess.__init__ = _fork  # type: ignore[method-assign, assignment]
        Origins._renew = _no_origin  # type: ignore[method-assign]


def _no_origin(self: Origins) -> None:
    """Leave it to `_fork`."""


def _fork(worker: WorkerProcess, name: str, start: WorkerStart = USUAL_START, **more: Any) -> None:
    """Fork a worker, if Python would start it as it started the origin."""
    origin = start.origin
    environment = worker_environment(start.layout)
    is_ours = start.paths is None or _has_this_rnnbench(start.paths[0])
    is_here = start.python == sys.executable and not start.under and is_ours
    names = {name for name in (*environment, *_started_with) if name.startswith(AT_START)} - {"PYTHONHASHSEED"}
    is_alike = all(environment.get(name) == _started_with.get(name) for name in names)
    is_of_a_check = origin is not None and origin._preload is not None and origin._process is None
    if is_here and is_alike and (origin is None or is_of_a_check):
        if _origin._process is None:
            with mock.patch.dict(os.environ, _started_with, clear=True):
                _origin._start()
        start = replace(start, origin=_origin, variables={**environment, **start.variables})
    _start(worker, name, start, **more)


def _has_this_rnnbench(folder: Path) -> bool:
    return (folder / "rnnbench").resolve() == PACKAGE_PARENT / "rnnbench"


@contextlib.contextmanager
def real_workers() -> Iterator[None]:
    """Let Python start the workers of this process."""
    with mock.patch.object(WorkerProcess, "__init__", _start), mock.patch.object(Origins, "_renew", _renew):
        yield

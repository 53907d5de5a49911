"""Real workers that end with the test."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from rnnbench.harness.coordinator.process import WorkerProcess, WorkerStart

Begin = Callable[..., WorkerProcess]


@pytest.fixture
def begin_worker() -> Iterator[Begin]:
    """Start workers, with the fields of a `WorkerStart`."""
    with ExitStack() as stack:

        def begin(name: str = "0000", *, now: Callable[[], float] = time.monotonic, **how: Any) -> WorkerProcess:
            return stack.enter_context(closing(WorkerProcess(name, WorkerStart(**how), now=now)))

        yield begin

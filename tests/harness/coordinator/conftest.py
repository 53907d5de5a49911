"""Real workers that end with the test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from rnnbench.harness.coordinator.process import WorkerProcess

Begin = Callable[..., WorkerProcess]


@pytest.fixture
def begin_worker() -> Iterator[Begin]:
    """Start workers."""
    with ExitStack() as stack:

        def begin(name: str = "0000", *arguments: Any, **options: Any) -> WorkerProcess:
            return stack.enter_context(closing(WorkerProcess(name, *arguments, **options)))

        yield begin

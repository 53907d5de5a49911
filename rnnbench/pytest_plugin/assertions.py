"""The fixture `rnnbench`: assertions on the time of live modules and functions."""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from rnnbench.api.live import assert_not_slower
from rnnbench.report.notebook import FrameResult
from rnnbench.store.records import Phase

if TYPE_CHECKING:
    from torch import Tensor

Undecided = Literal["fail", "skip", "pass"]
XDIST_WORKER = "PYTEST_XDIST_WORKER"  # in the environment of the processes of pytest-xdist


class Assertions:
    """The assertions of the fixture `rnnbench`; the marker `rnnbench` sets their defaults."""

    def __init__(self, defaults: Mapping[str, Any], properties: list[tuple[str, object]]) -> None:
        """`properties`: those of the test, which JUnit's XML shows."""
        self._defaults = defaults
        self._properties = properties

    def assert_not_slower(
        self,
        mine: Callable[..., object],
        *,
        than: Callable[..., object],
        factor: float,
        input: "Tensor | tuple[Any, ...] | Mapping[str, Tensor | tuple[Any, ...]]" = (),
        phase: Phase | None = None,
        budget: float | str | None = None,
        precision: float | str | None = None,
        threads: int | None = 1,
        undecided: Undecided | None = None,
        equal_outputs: bool = True,
    ) -> FrameResult:
        """Fail unless `mine` is shown to take at most `factor` times as long as `than`: `rnnbench.assert_not_slower`.

        With `undecided` "skip" a test that has no answer is skipped. `None` stands for the value of the marker. Under
        pytest-xdist, such tests wait for each other, so that one at a time is timed. The sentence is printed (`-rP`
        shows it) and written to JUnit's XML.
        """
        __tracebackhide__ = True
        given: dict[str, Any] = {"phase": phase, "budget": budget, "precision": precision, "undecided": undecided}
        chosen = dict(self._defaults) | {name: value for name, value in given.items() if value is not None}
        more: dict[str, Any] = {name: chosen[name] for name in given if name in chosen}
        if skips := more.get("undecided") == "skip":
            more["undecided"] = "pass"
        try:
            with timed_alone():
                result = assert_not_slower(
                    mine, than=than, factor=factor, input=input, threads=threads, equal_outputs=equal_outputs, **more
                )
        except AssertionError as error:
            self._properties.append(("rnnbench", str(error)))
            raise
        self._properties.append(("rnnbench", result.note))
        if skips and result.answer is None:
            pytest.skip(result.note)
        print(result.note)
        return result


@contextmanager
def timed_alone() -> Iterator[None]:
    """Wait until no other pytest-xdist process on this machine times a test; the others wait until this one is done.

    The lock is taken on this source file, which is opened for reading only. On a file system without locks, tests do
    not wait.
    """
    with Path(__file__).open("rb") as file:
        if XDIST_WORKER in os.environ:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""Pairs of workers, one of each side, that share a hash seed and the layout of their memory."""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rnnbench.check.sides import Side
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.asking import hello
from rnnbench.harness.coordinator.origin import PACKAGE_PARENT, Origin
from rnnbench.harness.coordinator.process import MAX_LAYOUTS, WorkerProcess
from rnnbench.harness.protocol import Building

ORIGIN_PAIRS = 4  # pairs forked from one process; the next ones have another hash seed and other addresses
WorkerPair = Mapping[str, WorkerProcess]  # side's name -> its worker


def start_worker(name: str, side: Side, layout: int, **options: Any) -> WorkerProcess:
    """Start a worker that runs a side's code with the side's interpreter; `options` are those of `WorkerProcess`."""
    tree = str(side.tree or "")
    first = Building(str(side.root), 0).imports(side.imports, tree) if side.imports else None
    return WorkerProcess(name, side.python, side.paths, layout, side.variables, side.folder, first, **options)


class WorkerPairs:
    """Starts one pair after another; at most one exists at a time."""

    def __init__(
        self,
        sides: Sequence[Side],
        *,
        start: Callable[..., WorkerProcess] = start_worker,
        now: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        self.sides = {side.name: side for side in sides}
        self.now = now
        self._start_worker = start
        self._rng = random.Random(seed)
        self._began = now()
        self._started = 0  # pairs
        self._may_fork = len({side.python for side in sides}) == 1 and all(side.may_fork for side in sides)
        self._origin: Origin | None = None  # of the workers, if they may be forked
        self.workers: WorkerPair = {}  # of the current pair; empty if there is none
        self.start_seconds = 0.0  # that the last pair took to start
        self.replicates = 0  # pairs that visited every group

    @property
    def seconds(self) -> float:
        """Seconds since the check began."""
        return self.now() - self._began

    def start(self) -> dict[str, dict[str, Any]]:
        """Start both workers of a pair at the same time; returns the hello of each side's worker.

        Raises UserError if one can't start or is too old.
        """
        started, name = self.now(), f"{self._started:04d}"
        self._started += 1
        # Both get the same hash seed and addresses, new ones in each pair: their effect on the time is shared.
        layout = self.draw_layout()
        if self._may_fork and self._started % ORIGIN_PAIRS == 1:
            self._end_origin()
            sides = self.sides.values()
            preload = all(side.paths[0] == PACKAGE_PARENT for side in sides)
            self._origin = Origin(next(iter(sides)).python, layout, preload=preload)
        workers: dict[str, WorkerProcess] = {}
        self.workers = workers  # from now on `close` ends those that have started, even if one can't be
        with _tokens(len(self.sides)) as tokens:
            # In random order: the one that is forked first is slower by a few thousandths.
            for side, token in self._rng.sample(list(zip(self.sides.values(), tokens, strict=True)), len(self.sides)):
                workers[side.name] = self.start_one(name, side, layout, token=token)
            self.workers = {name: workers[name] for name in self.sides}
            hellos = {name: self._hello(self.sides[name], worker) for name, worker in self.workers.items()}
        self.start_seconds = self.now() - started
        return hellos

    def start_one(self, name: str, side: Side, layout: int, **options: Any) -> WorkerProcess:
        """Start a worker of one side; it does not become part of a pair."""
        forked = {} if self._origin is None else {"origin": self._origin}
        return self._start_worker(name, side, layout, **forked, **options)

    def draw_layout(self) -> int:
        """Draw a memory layout for workers of both sides."""
        return self._rng.randrange(MAX_LAYOUTS)

    def hand_over(self) -> WorkerPair:
        """Give the current pair away; the caller must end its workers."""
        workers, self.workers = self.workers, {}
        return workers

    def end_replicate(self) -> None:
        """End the pair, which has visited every group."""
        self.close()
        self.replicates += 1

    def close(self) -> None:
        """End both workers, whatever they are doing."""
        for worker in self.workers.values():
            worker.close()
        self.workers = {}

    def end(self) -> None:
        """End everything that was started."""
        self.close()
        self._end_origin()

    def _end_origin(self) -> None:
        if self._origin is not None:
            self._origin.close()
            self._origin = None

    def _hello(self, side: Side, worker: WorkerProcess) -> dict[str, Any]:
        try:
            return hello(worker, f"{side.name} ({side.about})", "choose a revision whose rnnbench uses the same")
        except UserError as error:
            raise UserError(side.in_words(str(error))) from None


@contextmanager
def _tokens(workers: int) -> Iterator[list[tuple[int, int]]]:
    """For each worker of a ring, the end of a pipe from the one before it, and the start of the pipe to the next one.

    Only the workers that start in the context keep them open.
    """
    pipes = [os.pipe() for _ in range(workers)]
    try:
        yield [(pipes[number][0], pipes[(number + 1) % workers][1]) for number in range(workers)]
    finally:
        for end in (end for pipe in pipes for end in pipe):
            os.close(end)

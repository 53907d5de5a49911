"""Processes that keep cores busy while something else is measured."""

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

BURST_SECONDS = (1.0, 3.0)


@contextmanager
def hogs(number: int, *, rests: bool = False) -> Iterator[None]:
    """Run so many busy processes; with `rests`, each rests after a burst for as long as the burst took, on average."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_burn, args=(rests,), daemon=True) for _ in range(number)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _burn(rests: bool) -> None:
    while True:
        end = time.monotonic() + random.uniform(*BURST_SECONDS)
        while time.monotonic() < end:
            sum(range(10_000))
        if rests:
            time.sleep(random.uniform(*BURST_SECONDS))

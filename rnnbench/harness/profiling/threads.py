"""A call on one thread: what handing the work to several threads costs, if it saves nothing."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch

from rnnbench.store.profiles import Cause
from rnnbench.workloads.phases import TimedCall

ARM = "one thread"


def one_thread(timed: TimedCall) -> dict[str, TimedCall]:
    """The same call on one thread, as an arm; empty if it runs on one already."""
    threads = torch.get_num_threads()
    if threads == 1:
        return {}

    @contextmanager
    def mode() -> Iterator[None]:
        torch.set_num_threads(1)
        try:
            with timed.mode():
                yield
        finally:
            torch.set_num_threads(threads)

    return {ARM: TimedCall(timed.call, mode)}


def causes(times: Mapping[str, tuple[float, ...]]) -> Iterable[Cause]:
    """The cost of several threads: positive if the call is faster on one."""
    if ARM in times:
        saved = tuple(seconds - less for seconds, less in zip(times["call"], times[ARM], strict=True))
        yield Cause("threads", f"{torch.get_num_threads()} threads", 1, saved)

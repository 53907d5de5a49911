"""Fixtures for all rooms."""

import signal
from collections.abc import Iterator

import pytest
import torch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts this in the background has it ignored, and so would every program that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On a machine that is shared, two threads wait for each other for longer than the calls of a test take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

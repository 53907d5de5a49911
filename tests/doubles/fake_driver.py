"""CUDA's driver under torch's own code, as unkind to forks as the real one. Nothing can be computed on its cards.

- A process that has started the driver leaves forks that can't: each call in them fails, whether torch knows of it or
  not.
- torch notes in each fork that the process before it had asked CUDA's runtime for cards or architectures, or had a
  context, by then. It refuses to make a context there.
- NVML counts cards without the driver. It may be missing; torch asks CUDA's runtime then.
"""

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

NOT_INITIALIZED = "CUDA error: initialization error"


class FakeDriver:
    """The driver of a process and of its forks."""

    def __init__(self, cards: int = 1, *, has_nvml: bool = True) -> None:
        self.cards = cards
        self.has_nvml = has_nvml
        self.is_in_bad_fork = False
        self._user: int | None = None  # the process that has started it
        self._device = 0  # the current one
        self._has_handler = False  # of forks

    @property
    def is_used(self) -> bool:
        """Whether this process has asked CUDA for anything."""
        return self._has_handler or self._user is not None

    def install(self, put: Callable[[object, str, Any], object] = setattr) -> "FakeDriver":
        """Put it below torch's own code."""
        for name, function in {
            "_cuda_getDeviceCount": self.count,
            "_cuda_getArchFlags": self.architectures,
            "_cuda_isInBadFork": lambda: self.is_in_bad_fork,
            "_cuda_init": self._start,
            "_cuda_setDevice": self._set_device,
            "_cuda_getDevice": lambda: self._device,
        }.items():
            put(torch._C, name, function)
        properties = SimpleNamespace(uuid="aaaa-1111", name="Fake H100", total_memory=80 << 30)
        for name, value in {
            "_is_in_bad_fork": lambda: self.is_in_bad_fork,
            "_raw_device_count_nvml": lambda: self.cards if self.has_nvml else -1,
            "_get_device_properties": lambda index: properties,
            "_cudart": self,
            "_queued_calls": [],
            "_initialized": False,
            "_cached_device_count": None,
        }.items():
            put(torch.cuda, name, value)
        put(torch.version, "cuda", "13.0")
        return self

    def count(self) -> int:
        """Like CUDA's runtime, as torch asks it: no cards in place of an error."""
        self._note_forks()
        try:
            self.use()
        except RuntimeError:
            return 0
        return self.cards

    def architectures(self) -> str:
        """Like torch's list of those that it was built for, which is CUDA's business to torch."""
        self._note_forks()
        return "sm_90"

    def use(self) -> None:
        """Start the driver, as a library may of which torch knows nothing; raises RuntimeError where it can't start."""
        if self._user not in (None, os.getpid()):
            raise RuntimeError(NOT_INITIALIZED)
        self._user = os.getpid()

    def _start(self) -> None:
        self._note_forks()
        self.use()

    def _set_device(self, index: int) -> None:
        torch.cuda._lazy_init()
        self._device = index

    def _note_forks(self) -> None:
        if not self._has_handler:
            self._has_handler = True
            os.register_at_fork(after_in_child=self._note_fork)

    def _note_fork(self) -> None:
        self.is_in_bad_fork = True
        torch.cuda._initialized = False

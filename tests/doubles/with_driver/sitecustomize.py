"""Used where this folder is on PYTHONPATH: a process with a fake driver of CUDA, under torch's own code.

Before it forks, it does what the file `FAKE_DRIVER` says: `ask` torch whether there is a card, with or without NVML, as
a package that torch loads by itself may do; or `use` the driver without torch.
"""

import os
from pathlib import Path

import torch

from tests.doubles.fake_driver import FakeDriver

_driver = FakeDriver().install()
_process = os.getpid()


def _act() -> None:
    orders = Path(os.environ["FAKE_DRIVER"]).read_text() if os.getpid() == _process else ""
    _driver.has_nvml = "without NVML" not in orders
    if "ask" in orders:
        assert torch.cuda.is_available()
    if "use" in orders:
        _driver.use()


os.register_at_fork(before=_act)

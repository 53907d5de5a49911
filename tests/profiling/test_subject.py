"""What can be seen of a call."""

from contextlib import ExitStack

import pytest
import torch
from torch import Tensor, nn

from rnnbench.harness.devices import Cpu
from rnnbench.harness.live.cases import LiveCase
from rnnbench.profiling.profile import profile
from rnnbench.profiling.subject import hidden, of_live
from rnnbench.store.profiles import Profile
from rnnbench.workloads.phases import TimedCall

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 5
SEQUENCE = torch.randn(STEPS, 2, 3)


class Loop(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, input: Tensor) -> Tensor:
        h = torch.zeros(2, 4)
        for x in input.unbind(0):
            h = self.cell(x, h)
        return h


def profiled(module: nn.Module) -> Profile:
    case = LiveCase("mine", module, (SEQUENCE,))
    timed = TimedCall(lambda: module(SEQUENCE), torch.inference_mode)
    with ExitStack() as put_back:
        subject = of_live(case, timed, "inference", Cpu(), put_back)
        return profile(subject, rounds=2, window_seconds=0.0005)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_module_is_not_looked_into_and_nothing_about_its_operators_is_shown() -> None:
    for module in (torch.jit.trace(nn.Linear(3, 4), SEQUENCE), Loop(torch.jit.script(nn.RNNCell(3, 4)))):
        taken = profiled(module)
        assert "can't look inside TorchScript" in taken.opaque
        assert taken.works
        assert (taken.operators, taken.causes, taken.products) == ((), (), None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_part_that_is_compiled_or_scripted_hides_the_whole() -> None:
    compiled: nn.Module = torch.compile(nn.Linear(3, 4))  # type: ignore[assignment] # torch says it is a function
    assert "TorchScript" in hidden(torch.jit.script(nn.functional.relu))
    assert "compiled code" in hidden(Loop(compiled))
    assert not hidden(Loop(nn.RNNCell(3, 4)))
    assert not hidden(torch.tanh)

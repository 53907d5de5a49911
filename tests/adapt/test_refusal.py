"""A cell that can't be called is refused with the likely cause; no argument gets what it is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnbench
from rnnbench.adapt.calls import is_of_state
from rnnbench.cells import CellError
from rnnbench.store.records import Case
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.adapt import awkward
from tests.adapt.awkward import Base
from tests.doubles import workload as small

INPUT = torch.randn(7, 3, 8, generator=torch.Generator().manual_seed(0)) * 2


class TimeSpan(Base):
    """Takes a time span beside its state, and returns the same tensor twice, which looks like (h, c)."""

    def __init__(self, input_size: int = 8, hidden_size: int = 8) -> None:
        super().__init__(input_size, hidden_size)

    def forward(self, input: Tensor, hx: Tensor, ts: Any) -> tuple[Tensor, Tensor]:
        h = self.new(input, hx) * ts
        return h, h


class Begins(TimeSpan):
    """Says that both are its state."""

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(batch, 8), torch.ones(batch, 8)


class ReturnsBoth(TimeSpan):
    """Returns both as its state, beside an output."""

    def forward(self, input: Tensor, hx: Tensor, ts: Any) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        h = self.new(input, hx) + ts
        return 2 * h, h, ts + 1


class KeepsSyn(Base):
    """A spiking cell: keeps the parts of its state that it is not given."""

    syn: Tensor | None = None
    mem: Tensor | None = None

    def __init__(self) -> None:
        super().__init__(8, 8)

    def forward(self, x: Tensor, syn: Tensor | None = None, mem: Tensor | None = None) -> Any:
        self.syn = self.syn if syn is None else syn
        self.mem = self.mem if mem is None else mem
        self.syn = 0.9 * (torch.zeros_like(x) if self.syn is None else self.syn) + x
        self.mem = 0.8 * (torch.zeros_like(x) if self.mem is None else self.mem) + self.syn
        return (self.mem > 1).float(), self.syn, self.mem


class KeepsAll(KeepsSyn):
    """Takes no state at all."""

    def forward(self, x: Tensor, mem: Tensor | None = None) -> Tensor:  # type: ignore[override]
        if mem is not None:
            raise TypeError("mem is kept")
        spikes: Tensor = super().forward(x)[0]
        return spikes


class Ignores(Base):
    """Begins anew in each step."""

    def __init__(self) -> None:
        super().__init__(8, 6)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        if x.dim() > 2:
            raise ValueError("one step")
        return self.new(x, torch.zeros_like(h))


class OfFrames(nn.Module):
    """Reads frames."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor, state: Tensor) -> Any:
        state = self.both(torch.cat((x, state), 1))
        return state, state


@pytest.mark.parametrize(
    ("make", "cause", "raised"),
    [
        (TimeSpan, "it needs `ts`, which is not known to be a state", "TypeError: TimeSpan.forward() missing 1 req"),
        (KeepsAll, "it keeps its state in itself", "TypeError: mem is kept (test_refusal.py:"),
        (Ignores, "its result does not depend on the state", ""),
        (OfFrames, "it has a Conv2d, so it reads frames: rnnbench run --input", "RuntimeError: Expected 3D"),
        (
            lambda: awkward.Tokens(9, 8),
            "it has an Embedding, so it reads whole numbers",
            "RuntimeError: Expected tensor for argument",
        ),
    ],
)
def test_a_refusal_names_the_likely_cause_and_the_last_exception(
    make: Callable[[], nn.Module], cause: str, raised: str
) -> None:
    with pytest.raises(ValueError, match="can't be called as a cell: ") as refused:
        rnnbench.unroll(make())(INPUT)
    assert cause in str(refused.value)
    assert f"Its last exception: {raised}" in str(refused.value) or not raised


def test_a_run_refuses_with_the_same_words() -> None:
    with pytest.raises(CellError, match=r"TimeSpan can't be called: it needs `ts`, .* exception: TypeError"):
        observe(build(Case("test_refusal.py:TimeSpan", "loop", small.workload(reference="gru")), Path(__file__).parent))


@pytest.mark.parametrize("cell", [Begins(), ReturnsBoth(), KeepsSyn()])
@torch.no_grad()
def test_arguments_that_are_states_go_on_from_step_to_step(cell: Any) -> None:
    parts = cell.init_state(3) if isinstance(cell, Begins) else (torch.zeros(3, 8),) * 2
    expected = []
    for x in INPUT:
        output, *rest = cell(x, *parts)
        parts = rest if len(rest) == 2 else (output, *rest)
        expected.append(output)
    outputs, final = rnnbench.unroll(cell)(INPUT)
    torch.testing.assert_close(outputs, torch.stack(expected))
    torch.testing.assert_close([part[0] for part in final[-2:]], list(parts))


def test_a_run_of_a_layer_that_reads_tokens_says_what_to_type() -> None:
    case = Case("awkward.py:TokenLayer", "sequence", small.workload(reference="none"))
    with pytest.raises(
        CellError, match=r"it reads whole numbers: rnnbench run --input tokens:100\. Its last exception: "
    ):
        observe(build(case, Path(__file__).parent))


def test_names_of_states_and_of_other_arguments() -> None:
    assert all(map(is_of_state, ["h", "c0", "hx", "h_prev", "cell_states", "mem", "prev_output"]))
    assert not any(map(is_of_state, ["ts", "t", "dt", "mask", "timespans", "lengths", "context", "scale"]))

"""`python -m tests.gpu.live [DEVICE]`: `rnnbench.measure` on modules and tensors on a GPU."""

import math
import sys

import torch
from torch import Tensor, nn

import rnnbench
from rnnbench.report.notebook.measured import Measured
from rnnbench.store.records import Phase

STEPS, BATCH, SIZE = 32, 32, 256


class Loop(nn.Module):
    """An LSTM as a loop over torch's cell, with the weights of a layer."""

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(layer.input_size, layer.hidden_size)
        weights = layer.state_dict()
        self.cell.load_state_dict({name.removesuffix("_l0"): value for name, value in weights.items()})

    def forward(self, input: Tensor) -> Tensor:
        """(seq, batch, input) -> (seq, batch, hidden)."""
        state, outputs = None, []
        for step in input:
            state = self.cell(step, state)
            outputs.append(state[0])
        return torch.stack(outputs)


def faults(measured: Measured, phase: Phase, device: str) -> list[str]:
    """The faults of a result."""
    ratio = float(measured.frame["ratio"]["loop"])
    problems = []
    if not math.isfinite(ratio) or ratio <= 0:
        problems.append(f"{phase}: the ratio is {ratio}")
    if "agree" not in str(measured.frame["parity"]["loop"]):
        problems.append(f"{phase}: parity is {measured.frame['parity']['loop']!r}")
    if torch.device(measured.device).type != torch.device(device).type:
        problems.append(f"{phase}: it was measured on {measured.device}")
    return problems


def main(device: str) -> int:
    """Measure and print both frames."""
    torch.manual_seed(1)
    layer = nn.LSTM(SIZE, SIZE)
    modules = {"loop": Loop(layer).to(device), "torch": layer.to(device)}
    input = torch.randn(STEPS, BATCH, SIZE, device=device)
    wrong: list[str] = []
    for phase in ("inference", "training"):
        measured = rnnbench.measure(modules, input, phase, budget=20.0, progress=False)
        print(measured)
        wrong += faults(measured, phase, device)
    print("\n".join(wrong) or "both phases are measured, on the right device, with equal outputs")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda"))

"""The modules and shapes that a suite's cases name, for `rnnbench fastest SUITE`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from rnnbench.cells import load, spec
from rnnbench.cells.foreign.building import construct
from rnnbench.cells.precision import convert
from rnnbench.store.records import Case, DType, Phase, Reference, Workload
from rnnbench.text import plural
from rnnbench.workloads.make_model import LAYER_CLASSES
from rnnbench.workloads.prepare import torch_dtype


@dataclass(frozen=True)
class WantedModule:
    """A module with all sizes fixed, to be run fast in one phase; its shapes are not a part of it."""

    cell: str  # as in the suite, or the name of a layer of torch.nn
    reference: Reference
    phase: Phase
    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    dtype: DType
    device: str
    threads: int

    @property
    def title(self) -> str:
        """`gru, input size 64, hidden size 256, float32, cpu, 1 thread`."""
        parts = [self.cell, f"input size {self.input_size}", f"hidden size {self.hidden_size}"]
        parts += [plural(self.num_layers, "layer")] if self.num_layers > 1 else []
        parts += ["bidirectional"] if self.bidirectional else []
        return ", ".join([*parts, self.dtype, self.device, plural(self.threads, "thread")])

    def build(self, root: Path) -> nn.Module:
        """The module with random weights; `root` is the folder of the suite. Raises CellError if it can't be built."""
        torch.manual_seed(0)
        module = self._made(root)
        convert(module, self.device, torch_dtype(self.dtype))
        return module

    def _made(self, root: Path) -> nn.Module:
        if self.cell.startswith("torch.nn.") and not self.cell.endswith("Cell"):
            sizes = (self.input_size, self.hidden_size, self.num_layers)
            return LAYER_CLASSES[self.reference](*sizes, bidirectional=self.bidirectional)
        cell_spec = spec(self.cell, self.reference)
        named = {"input_size": self.input_size, "hidden_size": self.hidden_size, "output_size": 1, "batch_size": 1}
        return construct(load(cell_spec.target, root), named, cell_spec.arguments, {})

    def input(self, seq_len: int, batch_size: int) -> Tensor:
        """A random input (seq, batch, features)."""
        input = torch.randn(seq_len, batch_size, self.input_size, generator=torch.Generator().manual_seed(0))
        return input.to(device=self.device, dtype=torch_dtype(self.dtype))


def wanted(cases: Iterable[Case], own: str = "") -> tuple[dict[WantedModule, list[tuple[int, int]]], list[str]]:
    """Modules with their shapes (seq, batch), and why cases are left out: each reason once.

    `own`: a class that takes the place of every cell, so that a suite gives only the sizes. Then there are reasons only
    if no size is left.
    """
    found: dict[WantedModule, list[tuple[int, int]]] = {}
    left_out: dict[str, None] = {}
    for case in cases:
        workload = case.workload
        if reason := _why_not(case):
            left_out[reason] = None
            continue
        if own and (case.is_reference or case.cell.startswith("torch.nn.")):
            continue
        module = WantedModule(
            own or case.cell,
            "none" if own else workload.reference,
            workload.phase,
            workload.input_size,
            workload.hidden_size,
            workload.num_layers,
            workload.bidirectional,
            workload.dtype,
            workload.device,
            workload.threads,
        )
        shapes = found.setdefault(module, [])
        if (workload.seq_len, workload.batch_size) not in shapes:
            shapes.append((workload.seq_len, workload.batch_size))
    return found, [] if own and found else list(left_out)


def _why_not(case: Case) -> str:
    workload: Workload = case.workload
    if workload.phase not in ("inference", "training"):
        return f"cases of the phase {workload.phase}: expected inference or training"
    if workload.lengths != "equal":
        return "cases with sequences of varied lengths"
    if not case.is_reference and (workload.num_layers > 1 or workload.bidirectional):
        return "cases of a cell in several layers or directions: give a module that runs them itself"
    return ""

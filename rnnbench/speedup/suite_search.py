"""The work of `rnnbench fastest SUITE`: the modules that a suite names, and the search for each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from rnnbench.adapt.contract import construct
from rnnbench.cells import CellError, load, spec
from rnnbench.cells.states import convert
from rnnbench.errors import UserError
from rnnbench.harness.turns.progress import Progress
from rnnbench.raised import ending, place
from rnnbench.speedup.search import PHASES, find
from rnnbench.store.records import Case, Workload
from rnnbench.text import error_in_words, first_line, plural
from rnnbench.workloads.prepare import torch_dtype

SIZES = ("input_size", "hidden_size", "num_layers", "bidirectional", "dtype", "device", "threads")  # of a module


@dataclass(frozen=True)
class WantedModule:
    """A module with all sizes fixed, to be run fast in one phase; its shapes are not a part of it."""

    cell: str  # as in the suite, or the name of a layer of torch.nn
    workload: Workload  # of one sequence of one step

    @property
    def title(self) -> str:
        """Return `gru, input size 64, hidden size 256, float32, cpu, 1 thread`."""
        sizes = self.workload
        parts = [self.cell, f"input size {sizes.input_size}", f"hidden size {sizes.hidden_size}"]
        parts += [plural(sizes.num_layers, "layer")] if sizes.num_layers > 1 else []
        parts += ["bidirectional"] if sizes.bidirectional else []
        return ", ".join([*parts, sizes.dtype, sizes.device, plural(sizes.threads, "thread")])

    def build(self, root: Path) -> nn.Module:
        """Return the module with random weights; `root`: the suite's folder. Raises CellError if it can't be built."""
        torch.manual_seed(0)
        sizes, found = self.workload, spec(self.cell, self.workload.reference)
        is_stack = sizes.num_layers > 1 or sizes.bidirectional  # which only layers of torch.nn are
        more = {"num_layers": sizes.num_layers, "bidirectional": sizes.bidirectional} if is_stack else {}
        named = {name: getattr(sizes, name) for name in ("input_size", "hidden_size", "output_size", "batch_size")}
        module = construct(load(found.target, root), named, found.arguments, more)
        convert(module, sizes.device, torch_dtype(sizes.dtype))
        return module.eval() if sizes.phase == "inference" else module

    def input(self, seq_len: int, batch_size: int) -> Tensor:
        """Return a random input (seq, batch, features)."""
        sizes = self.workload
        input = torch.randn(seq_len, batch_size, sizes.input_size, generator=torch.Generator().manual_seed(0))
        return input.to(device=sizes.device, dtype=torch_dtype(sizes.dtype))


def wanted(cases: Iterable[Case]) -> tuple[dict[WantedModule, list[tuple[int, int]]], list[str]]:
    """Return modules with their shapes (seq, batch), and why cases are left out: each reason once."""
    found: dict[WantedModule, dict[tuple[int, int], None]] = {}
    left_out: dict[str, None] = {}
    for case in cases:
        sizes = case.workload
        if reason := _why_not(case):
            left_out[reason] = None
            continue
        fixed = {name: getattr(sizes, name) for name in SIZES}
        one = Workload(sizes.reference, sizes.phase, "many_to_many", batch_size=1, seq_len=1, output_size=1, **fixed)
        found.setdefault(WantedModule(case.cell, one), {})[sizes.seq_len, sizes.batch_size] = None
    return {module: list(shapes) for module, shapes in found.items()}, list(left_out)


def _why_not(case: Case) -> str:
    if case.workload.phase not in PHASES:
        return f"cases of the phase {case.workload.phase}: expected inference or training"
    if case.workload.lengths != "equal":
        return "cases with sequences of varied lengths"
    if not case.is_reference and (case.workload.num_layers > 1 or case.workload.bidirectional):
        return "cases of a cell in several layers or directions: give a module that runs them itself"
    return ""


def find_wanted(
    wanted: WantedModule,
    shapes: Sequence[tuple[int, int]],
    root: Path,
    budget_seconds: float,
    on_progress: Callable[[Progress], None],
) -> pd.DataFrame:
    """Return the ways of a module at its shapes (seq, batch). Raises UserError if it can't be built or run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(wanted.workload.threads)
    first, *others = shapes
    try:
        module = wanted.build(root)
        return find(module, wanted.input(*first), wanted.workload.phase, others, budget_seconds, on_progress)[1]
    except (CellError, RuntimeError, TypeError, ValueError) as fault:
        raise UserError(f"{wanted.title}: {first_line(fault) or type(fault).__name__}") from fault
    except (Exception, SystemExit) as fault:  # whatever a stranger's module raises
        is_end = isinstance(fault, SystemExit)
        said = f"{ending(fault)}; a cell must return, or raise another exception" if is_end else error_in_words(fault)
        raise UserError(f"{wanted.title}: {said}{'' if is_end else place(fault)}") from fault
    finally:
        torch.set_num_threads(threads)

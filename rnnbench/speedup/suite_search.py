"""The work of `rnnbench fastest SUITE`: the modules that a suite names, and the search for each."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from rnnbench.adapt.contract import construct
from rnnbench.cells import CellError, load, spec
from rnnbench.cells.states import convert
from rnnbench.errors import UserError
from rnnbench.harness.turns.progress import Progress
from rnnbench.raised import ending, place
from rnnbench.speedup.module import TimedWay
from rnnbench.speedup.search import find
from rnnbench.store.records import Case, Workload
from rnnbench.text import error_in_words, first_line, plural
from rnnbench.workloads.prepare import torch_dtype


@dataclass(frozen=True)
class WantedModule:
    """A module with all sizes fixed, to be run fast in one phase; its shapes are not a part of it."""

    cell: str  # as in the suite, or the name of a layer of torch.nn
    workload: Workload  # of one sequence of one step

    @property
    def title(self) -> str:
        """`gru, input size 64, hidden size 256, float32, cpu, 1 thread`."""
        sizes = self.workload
        parts = [self.cell, f"input size {sizes.input_size}", f"hidden size {sizes.hidden_size}"]
        parts += [plural(sizes.num_layers, "layer")] if sizes.num_layers > 1 else []
        parts += ["bidirectional"] if sizes.bidirectional else []
        return ", ".join([*parts, sizes.dtype, sizes.device, plural(sizes.threads, "thread")])

    def build(self, root: Path) -> nn.Module:
        """Return the module with random weights; `root`: the suite's folder. Raises CellError if it can't be built."""
        torch.manual_seed(0)
        sizes = self.workload
        if self.cell.startswith("torch.nn.") and not self.cell.endswith("Cell"):
            layer = load(spec(self.cell, sizes.reference).target, root)
            module: nn.Module = layer(
                sizes.input_size, sizes.hidden_size, sizes.num_layers, bidirectional=sizes.bidirectional
            )
        else:
            cell_spec = spec(self.cell, sizes.reference)
            named = {name: getattr(sizes, name) for name in ("input_size", "hidden_size", "output_size", "batch_size")}
            module = construct(load(cell_spec.target, root), named, cell_spec.arguments, {})
        convert(module, sizes.device, torch_dtype(sizes.dtype))
        return module

    def input(self, seq_len: int, batch_size: int) -> Tensor:
        """A random input (seq, batch, features)."""
        sizes = self.workload
        input = torch.randn(seq_len, batch_size, sizes.input_size, generator=torch.Generator().manual_seed(0))
        return input.to(device=sizes.device, dtype=torch_dtype(sizes.dtype))


def wanted(cases: Iterable[Case]) -> tuple[dict[WantedModule, list[tuple[int, int]]], list[str]]:
    """Return modules with their shapes (seq, batch), and why cases are left out: each reason once."""
    found: dict[WantedModule, list[tuple[int, int]]] = {}
    left_out: dict[str, None] = {}
    for case in cases:
        workload = case.workload
        if reason := _why_not(case):
            left_out[reason] = None
            continue
        sizes = Workload(
            workload.reference,
            workload.phase,
            "many_to_many",
            batch_size=1,
            seq_len=1,
            input_size=workload.input_size,
            hidden_size=workload.hidden_size,
            output_size=1,
            num_layers=workload.num_layers,
            dtype=workload.dtype,
            device=workload.device,
            threads=workload.threads,
            bidirectional=workload.bidirectional,
        )
        module = WantedModule(case.cell, sizes)
        shapes = found.setdefault(module, [])
        if (workload.seq_len, workload.batch_size) not in shapes:
            shapes.append((workload.seq_len, workload.batch_size))
    return found, list(left_out)


def _why_not(case: Case) -> str:
    workload: Workload = case.workload
    if workload.phase not in ("inference", "training"):
        return f"cases of the phase {workload.phase}: expected inference or training"
    if workload.lengths != "equal":
        return "cases with sequences of varied lengths"
    if not case.is_reference and (workload.num_layers > 1 or workload.bidirectional):
        return "cases of a cell in several layers or directions: give a module that runs them itself"
    return ""


def find_wanted(
    wanted: WantedModule,
    shapes: Sequence[tuple[int, int]],
    root: Path,
    budget_seconds: float,
    on_progress: Callable[[Progress], None],
) -> list[TimedWay]:
    """What was found for a module at its shapes (seq, batch). Raises UserError if it can't be built or run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(wanted.workload.threads)
    try:
        module = wanted.build(root)
        if wanted.workload.phase == "inference":
            module.eval()
        first, *others = shapes
        return find(module, wanted.input(*first), wanted.workload.phase, others, budget_seconds, on_progress)[1]
    except SystemExit as end:
        raise UserError(f"{wanted.title}: {ending(end)}; a cell must return, or raise another exception") from end
    except (CellError, RuntimeError, TypeError, ValueError) as fault:
        raise UserError(f"{wanted.title}: {first_line(fault) or type(fault).__name__}") from fault
    except Exception as fault:  # whatever a stranger's module raises
        raise UserError(f"{wanted.title}: {error_in_words(fault)}{place(fault)}") from fault
    finally:
        torch.set_num_threads(threads)

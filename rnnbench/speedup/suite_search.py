"""The work of `rnnbench fastest SUITE`: the modules that a suite names, the search for each, the file that keeps it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from rnnbench.adapt.building import construct
from rnnbench.cells import CellError, load, spec
from rnnbench.cells.states import convert
from rnnbench.errors import UserError
from rnnbench.harness.turns.progress import Progress
from rnnbench.raised import ending, place
from rnnbench.speedup.module import KEYS, TimedWay, row
from rnnbench.speedup.search import find
from rnnbench.store.records import Case, DType, Phase, Reference, Workload
from rnnbench.text import error_in_words, first_line, plural, printable
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


def find_wanted(
    wanted: WantedModule,
    shapes: Sequence[tuple[int, int]],
    root: Path,
    budget_seconds: float,
    on_progress: Callable[[Progress], None],
) -> list[TimedWay]:
    """What was found for a module at its shapes (seq, batch). Raises UserError if it can't be built or run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(wanted.threads)
    try:
        module = wanted.build(root)
        if wanted.phase == "inference":
            module.eval()
        first, *others = shapes
        return find(module, wanted.input(*first), wanted.phase, others, budget_seconds, on_progress)[1]
    except SystemExit as end:
        raise UserError(f"{wanted.title}: {ending(end)}; a cell must return, or raise another exception") from end
    except (CellError, RuntimeError, TypeError, ValueError) as fault:
        raise UserError(f"{wanted.title}: {first_line(fault) or type(fault).__name__}") from fault
    except Exception as fault:  # whatever a stranger's module raises
        raise UserError(f"{wanted.title}: {error_in_words(fault)}{place(fault)}") from fault
    finally:
        torch.set_num_threads(threads)


TEMPLATE = '''"""{name}, run in the fastest ways that were found.

Written by `{command}`. To use it:

    from {stem} import fast
    outputs, state = fast({name}({sizes}), hidden_size={hidden_size})(input)
"""

import rnnbench
import torch
from torch import nn

from {module} import {name}

# Hidden size -> the way for each shape. The nearest one counts for other sizes.
WAYS = {ways}


def fast(cell: {name}, hidden_size: int = {hidden_size}) -> nn.Module:
    """The cell over a sequence, with its own weights: `(input, state=None) -> (outputs, state)`."""
    weight = next(cell.parameters())
    input = torch.zeros(1, 1, {input_size}, dtype=weight.dtype, device=weight.device)
    nearest = min(WAYS, key=lambda known: abs(known - hidden_size))
    return rnnbench.fastest(cell, input, ways=WAYS[nearest])
'''


def importable(cell: str, root: Path, file: Path) -> tuple[str, str]:
    """The module and the name of a cell, for a file that imports it; raises UserError if it can't.

    `root`: the folder that the cell's file is relative to; `file`: where the importing module will be.
    """
    where, _, name = cell.rpartition(":")
    if not where:
        raise UserError(f"{cell}: only a cell of your own can be imported: FILE.py:CELL or package.module:CELL")
    if where.endswith(".py"):
        path = root / where
        if path.resolve().parent != file.resolve().parent:
            raise UserError(f"{file}: it must be in the same folder as {path}, which it imports")
        where = path.stem
    if not all(part.isidentifier() for part in (*where.split("."), name, file.stem)):
        raise UserError(f"{file}: it can't import {name} from {where}: the names must be identifiers of Python")
    return where, name


def source(found: Mapping[WantedModule, Sequence[TimedWay]], root: Path, file: Path, command: str) -> str:
    """The source of the module; raises UserError as `importable` does, for the only cell of what was found."""
    some = next(iter(found))
    where, name = importable(some.cell, root, file)
    ways: dict[int, list[dict[str, object]]] = {}
    for module, timed in found.items():
        chosen = [row(each) for each in timed if each.is_chosen]
        ways.setdefault(module.hidden_size, []).extend({key: one[key] for key in KEYS} for one in chosen)
    return TEMPLATE.format(
        name=name,
        command=printable(command).replace("\\", "/").replace('"""', ""),
        stem=file.stem,
        module=where,
        sizes=f"{some.input_size}, {some.hidden_size}",
        input_size=some.input_size,
        hidden_size=some.hidden_size,
        ways=_literal(ways),
    )


def _literal(ways: Mapping[int, Sequence[Mapping[str, object]]]) -> str:
    """The ways as Python source, a line for each."""
    lines = []
    for hidden_size, rows in ways.items():
        lines += [f"    {hidden_size}: [", *(f"        {json.dumps(each)}," for each in rows), "    ],"]
    return "\n".join(["{", *lines, "}"])

"""A module of the user's own that runs a cell in the ways that were found."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnbench.errors import UserError
from rnnbench.harness.fastest.cases import WantedModule
from rnnbench.harness.fastest.timed_ways import KEYS, TimedWay, row
from rnnbench.text import printable

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

"""Compile what a module does at a shape into a package, which another process runs without a compiler.

A package is made by AOTInductor (`torch._inductor.aoti_compile_and_package`), with the options and passes of
`torch.compile` here, so it is as fast as what `fastest` has timed. Weights are arguments of its code and no part of it:
packages are small, and a change of a weight is seen in the next call.
"""

import re
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from rnnbench.adapt.kinds import RunModule
from rnnbench.cells.states import State
from rnnbench.speedup.kept.code import parts_of
from rnnbench.speedup.ways import INFERENCE_STEPS, Way, WayName, call, cell_by, layer_by, row_of
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Skip

PRODUCT_SYMBOL = re.compile(rb"aoti_torch_cpu_rnnbench_[a-z]+_([a-z]+)\0")


@dataclass(frozen=True)
class CodeUnit:
    """What is compiled: a module, and the way that runs it, before it is compiled."""

    module: nn.Module
    way: Way

    @classmethod
    def from_run(cls, run: RunModule, name: WayName) -> Self:
        """Return what a compiled way of this name runs: a cell or a layer step by step, or a whole module."""
        if run.kind == "sequence":
            return cls(run.module, call)
        recur = row_of(name).run
        return cls(run.module, cell_by(recur) if run.kind == "cell" else layer_by(recur))

    def tensors(self) -> dict[str, Tensor]:
        """Return the parameters and buffers, detached, by their names in the module."""
        tensors = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        return {name: tensor.detach() for name, tensor in tensors.items()}

    def __call__(self, input: Tensor, state: State) -> tuple[Any, ...]:
        """Run the module; returns outputs and the parts of the final state."""
        result = self.way(self.module, input, state)
        outputs, final = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        return (outputs, *parts_of(final))


@dataclass(frozen=True)
class Package:
    """A file of compiled code, and what it took."""

    name: str
    compile_seconds: float
    products: frozenset[str] = frozenset()  # the types, by their names in C, of rnnbench's own products that it calls


def pieces_of(run: RunModule, steps: int) -> list[int]:
    """Return the steps of each piece in which a sequence is run by compiled code; they add up to `steps`.

    Raises Skip for a long sequence in two directions, of which no piece can be run without all later steps.
    """
    if run.kind == "sequence":
        return [steps]
    if getattr(run.module, "bidirectional", False) and steps > INFERENCE_STEPS:
        raise Skip(f"compiled code of two directions is kept for at most {INFERENCE_STEPS} steps")
    return compiled.pieces_of(steps, INFERENCE_STEPS)


class _Lifted(nn.Module):
    """A unit with its weights as arguments: (input, parts of the state, weights) -> (outputs, *parts of the state)."""

    def __init__(self, unit: CodeUnit) -> None:
        super().__init__()
        self.__dict__["body"] = _Body(unit)  # no submodule, whose parameters would be constants of the program
        self.names = [f"module.{name}" for name in unit.tensors()]

    def forward(self, input: Tensor, state: tuple[Tensor, ...], weights: tuple[Tensor, ...]) -> Any:
        """Run the unit with these weights."""
        named = dict(zip(self.names, weights, strict=True))
        return torch.func.functional_call(self.__dict__["body"], named, (input, state))


class _Body(nn.Module):
    def __init__(self, unit: CodeUnit) -> None:
        super().__init__()
        self.module = unit.module
        self.unit = unit

    def forward(self, input: Tensor, state: tuple[Tensor, ...]) -> Any:
        """Run the unit."""
        return self.unit(input, state[0] if len(state) == 1 else state or None)


def compile_package(unit: CodeUnit, name: WayName, input: Tensor, state: Sequence[Tensor], file: Path) -> Package:
    """Compile a unit for an input and a state of these shapes, and write the package to `file` (`NAME.pt2`).

    Raises Skip if this torch can't make packages, and whatever torch raises for code that it can't compile.
    """
    from rnnbench.kernels.routing import LoopPasses

    if not hasattr(torch._inductor, "aoti_compile_and_package"):
        raise Skip(f"torch {torch.__version__} makes no packages of compiled code")
    started = time.perf_counter()
    passes = LoopPasses(Counter() if row_of(name).has_own_library else None)
    options = {**compiled.PACKAGE_OPTIONS, compiled.PASSES: passes}
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # torch's, of its own code
        arguments = (input, tuple(state), tuple(unit.tensors().values()))
        program = torch.export.export(_Lifted(unit), arguments, strict=False)
        torch._inductor.aoti_compile_and_package(program, package_path=str(file), inductor_configs=options)
    return Package(file.stem, time.perf_counter() - started, products_called(file))


def products_called(file: Path) -> frozenset[str]:
    """Return the types of rnnbench's own products whose symbols the code of a package needs."""
    with zipfile.ZipFile(file) as package:
        libraries = [package.read(name) for name in package.namelist() if name.endswith(".so")]
    return frozenset(symbol.decode() for code in libraries for symbol in PRODUCT_SYMBOL.findall(code))

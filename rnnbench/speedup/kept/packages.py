"""Compile what a module does at a shape into a package, which another process runs without a compiler.

A package is made by AOTInductor (`torch._inductor.aoti_compile_and_package`), with the options and passes of
`torch.compile` here, so it is as fast as what `fastest` has timed. Weights are arguments of its code and no part of it:
packages are small, layers of equal sizes share one, and a change of a weight is seen in the next call.
"""

import re
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.adapt.calls import Adapted
from rnnbench.adapt.kinds import CELL_OF, RunModule
from rnnbench.cells.states import State, leaves, to_cell, to_layer
from rnnbench.speedup.ways import ALONE, INFERENCE_STEPS, WayName, call, row_of
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import SequenceOptions, Skip

PRODUCT_SYMBOL = re.compile(rb"aoti_torch_cpu_rnnbench_[a-z]+_([a-z]+)\0")
Recur = Callable[[nn.Module, Tensor, State], tuple[Any, ...]]  # (module, input, state) -> outputs and final state


@dataclass(frozen=True)
class CodeUnit:
    """What runs from the first step to the last: a cell, one direction of a layer, or a module for whole sequences."""

    module: nn.Module
    recur: Recur
    weights: Mapping[str, str]  # of parameters and buffers: their names in `module`, and in the module as given
    features: tuple[int, ...]  # of a step of its input

    def tensors(self) -> list[Tensor]:
        """Return the parameters and buffers, detached, in the order of `weights`."""
        tensors = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        return [tensors[name].detach() for name in self.weights]


@dataclass(frozen=True)
class Package:
    """A file of compiled code, and what it took."""

    name: str
    compile_seconds: float
    products: frozenset[str] = frozenset()  # the types, by their names in C, of rnnbench's own products that it calls


def pieces_of(run: RunModule, steps: int) -> list[int]:
    """Return the steps of each piece in which a sequence is run by compiled code; they add up to `steps`."""
    if run.kind == "sequence":
        return [steps]
    return compiled.pieces_of(steps, INFERENCE_STEPS)


def units(run: RunModule, way: WayName, features: tuple[int, ...]) -> list[CodeUnit]:
    """Return what a compiled way runs one after the other, in the order of layers and directions.

    `features`: of a step of the input.
    """
    module: Any = run.module
    if run.kind == "sequence":
        return [CodeUnit(module, _whole, {name: name for name in _names(module)}, features)]
    recur = _stepwise(row_of(way).run)
    if run.kind == "cell":
        prefix = "given." if isinstance(module, Adapted) else ""
        return [CodeUnit(module, recur, {name: name.removeprefix(prefix) for name in _names(module)}, features)]
    return [
        CodeUnit(cell, recur, names, (cell_input,)) for cell, names, cell_input in _cells_of_layer(module, features[0])
    ]


def _names(module: nn.Module) -> list[str]:
    return [*dict(module.named_parameters()), *dict(module.named_buffers())]


def _cells_of_layer(layer: Any, features: int) -> Iterator[tuple[nn.Module, dict[str, str], int]]:
    """Yield rnnbench's cell for each layer and direction of torch.nn, with the layer's weights, and its input size."""
    directions = 2 if layer.bidirectional else 1
    for number in range(layer.num_layers):
        for ending in (f"_l{number}", f"_l{number}_reverse")[:directions]:
            size = directions * layer.hidden_size if number else features
            cell = CELL_OF[type(layer)](size, layer.hidden_size)
            for name in cell._parameters:
                cell._parameters[name] = layer._parameters.get(f"{name}{ending}")
            names = {name: f"{name}{ending}" for name, weight in cell._parameters.items() if weight is not None}
            yield cell, names, size


def _whole(module: nn.Module, input: Tensor, state: State) -> tuple[Any, ...]:
    result = call(module, input, state)
    outputs, final = result if isinstance(result, tuple) and len(result) == 2 else (result, ALONE)
    return (outputs,) if final is ALONE else (outputs, *leaves(final))


def _stepwise(run: Callable[..., tuple[Tensor, State]]) -> Recur:
    def recur(module: nn.Module, input: Tensor, state: State) -> tuple[Any, ...]:
        outputs, final = run(module, input, to_cell(state, stacked=False), SequenceOptions())
        return (outputs, *leaves(to_layer(final, stacked=False)))

    return recur


class _Lifted(nn.Module):
    """A unit with its weights as arguments: (input, parts of the state, weights) -> (outputs, *parts of the state)."""

    def __init__(self, unit: CodeUnit) -> None:
        super().__init__()
        self.__dict__["body"] = _Body(unit)  # no submodule, whose parameters would be constants of the program
        self.names = [f"module.{name}" for name in unit.weights]

    def forward(self, input: Tensor, state: tuple[Tensor, ...], weights: tuple[Tensor, ...]) -> Any:
        """Run the unit with these weights."""
        named = dict(zip(self.names, weights, strict=True))
        return torch.func.functional_call(self.__dict__["body"], named, (input, state))


class _Body(nn.Module):
    def __init__(self, unit: CodeUnit) -> None:
        super().__init__()
        self.module = unit.module
        self.recur = unit.recur

    def forward(self, input: Tensor, state: tuple[Tensor, ...]) -> Any:
        """Run the unit."""
        return self.recur(self.module, input, state[0] if len(state) == 1 else state or None)


def exported(unit: CodeUnit, input: Tensor, state: Sequence[Tensor]) -> Any:
    """Return a unit as a program of torch.export, for an input and a state of these shapes.

    Raises whatever torch raises for code that has no graph.
    """
    arguments = (input, tuple(state), tuple(unit.tensors()))
    with torch.no_grad():
        return torch.export.export(_Lifted(unit), arguments, strict=False)


def compile_package(unit: CodeUnit, way: WayName, input: Tensor, state: Sequence[Tensor], file: Path) -> Package:
    """Compile a unit for an input and a state of these shapes, and write the package to `file` (`NAME.pt2`).

    Raises Skip if this torch can't make packages, and whatever torch raises for code that it can't compile.
    """
    from rnnbench.kernels.routing import LoopPasses

    if not hasattr(torch._inductor, "aoti_compile_and_package"):
        raise Skip(f"torch {torch.__version__} makes no packages of compiled code")
    started = time.perf_counter()
    passes = LoopPasses(Counter() if row_of(way).has_own_library else None)
    options = {**compiled.PACKAGE_OPTIONS, compiled.PASSES: passes}
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # torch's, of its own code
        program = exported(unit, input, state)
        torch._inductor.aoti_compile_and_package(program, package_path=str(file), inductor_configs=options)
    return Package(file.stem, time.perf_counter() - started, products_called(file))


def products_called(file: Path) -> frozenset[str]:
    """Return the types of rnnbench's own products whose symbols the code of a package needs."""
    with zipfile.ZipFile(file) as package:
        libraries = [package.read(name) for name in package.namelist() if name.endswith(".so")]
    return frozenset(symbol.decode() for code in libraries for symbol in PRODUCT_SYMBOL.findall(code))

"""The compiled code of a folder, loaded, and how it runs a kept shape with the weights as they are at the moment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from rnnbench.errors import UserError
from rnnbench.speedup.kept.manifest import AGAIN, KeptShape, KeptUnit, KeptWays
from rnnbench.text import first_line

# ways that are not compiled
AS_GIVEN = "as given"
EQUAL_LAYER = "torch.nn"
FUSED = "fused"
StateParts = tuple[Tensor, ...]
BatchResults = tuple[Tensor, StateParts]  # outputs and final state
RunParts = Callable[[Tensor, StateParts], BatchResults]  # of an input (seq, batch, ...) and a state
RunPackage = Callable[[Tensor, Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]  # input, state, weights


def open_packages(folder: Path, manifest: KeptWays) -> dict[str, RunPackage]:
    """Return all packages of a folder, loaded. Raises UserError."""
    names = {name for shape in manifest.shapes for unit in shape.units for name in unit.packages.values()}
    try:
        _load_libraries(folder, manifest)
        return {name: run_package(folder / f"{name}.pt2") for name in sorted(names)}
    except (RuntimeError, OSError) as error:
        raise UserError(f"{folder}: its code can't be loaded here: {first_line(error)}; {AGAIN}") from error


def _load_libraries(folder: Path, manifest: KeptWays) -> None:
    """Load rnnbench's own C; packages look for the symbols of its products in the process."""
    for name, (file, source) in manifest.libraries.items():
        from rnnbench.kernels import direct, recurrence

        cell = recurrence.CELLS.get(name)
        if direct.source_key(cell.source if cell else direct.SOURCE) != source:
            raise UserError(
                f"{folder}: the folder needs C code of rnnbench {manifest.rnnbench}, which this version lacks; {AGAIN}"
            )
        if cell:
            recurrence.use_library(cell, folder / file)
        else:
            direct.open_library(folder / file, name)


def run_package(file: Path) -> RunPackage:
    """Load a package, and return a function that runs it. Raises RuntimeError or OSError.

    torch's own `aoti_load_package` first compiles test programs, for seconds, to warn of another processor (PyTorch's
    issue 191715); `manifest.check` has compared the processor. So what it calls then is called here, and
    `aoti_load_package` only where a torch has no such class, or one with other arguments.
    """
    try:
        loader = torch._C._aoti.AOTIModelPackageLoader(str(file), "model", False, 1, -1)
    except (AttributeError, TypeError):
        model: Any = torch._inductor.aoti_load_package(str(file))
        return lambda input, state, weights: model(input, tuple(state), tuple(weights))
    return lambda input, state, weights: loader.boxed_run([input, *state, *weights])


@dataclass(frozen=True)
class LoadedUnit:
    """A unit with its code and with the places of its weights."""

    unit: KeptUnit
    packages: Mapping[int, RunPackage]
    places: Sequence[tuple[dict[str, Any], str]]

    @classmethod
    def of(cls, unit: KeptUnit, holder: nn.Module, packages: Mapping[str, RunPackage]) -> Self:
        """Return a unit whose weights are in a module."""
        places = []
        for path in unit.weights:
            parent, _, name = path.rpartition(".")
            owner = holder.get_submodule(parent)
            places.append((cast("Any", owner._parameters if name in owner._parameters else owner._buffers), name))
        return cls(unit, {steps: packages[name] for steps, name in unit.packages.items()}, places)

    def weights(self) -> list[Tensor]:
        """Return the weights as they are now; raises ValueError if its code was not compiled for such."""
        weights = []
        for (owner, name), path, form in zip(self.places, self.unit.weights, self.unit.takes, strict=True):
            weight = owner.get(name)
            if weight is None:
                raise ValueError(
                    f"{path} is no longer a parameter of this module: pruning and parametrization can't be used with "
                    "kept code; change the module as given, and save it again"
                )
            if (tuple(weight.shape), weight.stride(), str(weight.dtype)[6:]) != form or not weight.is_cpu:
                raise ValueError(f"{path} has another shape, order, type or device than the saved weight")
            weights.append(weight)
        return weights

    def run(self, pieces: Sequence[int], input: Tensor, state: StateParts) -> BatchResults:
        """Run pieces of these numbers of steps, one after the other."""
        weights = self.weights()
        outputs = []
        parts = torch.split(input, list(pieces)) if len(pieces) > 1 else (input,)
        for steps, part in zip(pieces, parts, strict=True):
            of_piece, *final = self.packages[steps](part, state, weights)
            state = tuple(final)
            outputs.append(of_piece)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs), state


def run_of(shape: KeptShape, manifest: KeptWays, holder: nn.Module, packages: Mapping[str, RunPackage]) -> RunParts:
    """Return what runs a kept shape with the weights of a module: by packages, or as a layer of torch.nn.

    `holder`: the layer itself if the module is one.
    """
    if not shape.units:
        return partial(_as_layer, shape.way, manifest, holder)
    units = [LoadedUnit.of(unit, holder, packages) for unit in shape.units]
    if manifest.kind == "sequence":
        return partial(_whole, units[0], shape.pieces, manifest.is_batch_first)
    return partial(_layers, units, shape.pieces, manifest.directions)


def _whole(unit: LoadedUnit, pieces: Sequence[int], is_turned: bool, steps: Tensor, state: StateParts) -> BatchResults:
    input = (steps.transpose(0, 1) if is_turned else steps).contiguous()
    outputs, final = unit.run(pieces, input, state)
    return outputs.transpose(0, 1) if is_turned else outputs, final


def _layers(
    units: Sequence[LoadedUnit], pieces: Sequence[int], directions: int, steps: Tensor, state: StateParts
) -> BatchResults:
    """Run layers of one or two directions, or a cell, which is one layer of one."""
    finals: list[StateParts] = []
    for first in range(0, len(units), directions):
        outputs = []
        for index in range(first, first + directions):
            is_reverse = index > first
            input = steps.flip(0) if is_reverse else steps.contiguous()
            of_unit, final = units[index].run(pieces, input, tuple(part[index : index + 1] for part in state))
            outputs.append(of_unit.flip(0) if is_reverse else of_unit)
            finals.append(final)
        steps = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
    return steps, finals[0] if len(finals) == 1 else tuple(map(torch.cat, zip(*finals, strict=True)))


def _as_layer(way: str, manifest: KeptWays, holder: nn.Module, steps: Tensor, state: StateParts) -> BatchResults:
    """Run a layer of torch.nn, or a cell that computes the same as one."""
    first: Any = state[0] if len(state) == 1 else state
    if way == AS_GIVEN:
        outputs, final = holder(steps.transpose(0, 1) if manifest.is_batch_first else steps, first)
        return outputs.transpose(0, 1) if manifest.is_batch_first else outputs, parts_of(final)
    from rnnbench.speedup import fused
    from rnnbench.speedup.equal_layer import EqualLayer

    if manifest.equal_layer is None:
        outputs, final = fused.run_layer(holder, steps, first)
    else:
        layer = EqualLayer.from_json(manifest.equal_layer)
        run = layer if way == EQUAL_LAYER else partial(fused.run_cell, layer)
        outputs, final = run(holder, steps, first)
    return outputs, parts_of(final)


def parts_of(state: Any) -> StateParts:
    """Return the tensors of a state as torch.nn's layers take it; none for None."""
    if state is None:
        return ()
    return (state,) if isinstance(state, Tensor) else tuple(state)

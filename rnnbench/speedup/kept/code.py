"""The compiled code of a folder, loaded, and the layers of torch.nn and of rnnbench's own C that run in its place."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.errors import UserError
from rnnbench.speedup.kept.manifest import AGAIN, KeptWays
from rnnbench.text import first_line

# ways that are not compiled
AS_GIVEN = "as given"
EQUAL_LAYER = "torch.nn"
FUSED = "fused"
StateParts = tuple[Tensor, ...]
BatchResults = tuple[Tensor, StateParts]  # outputs and final state
RunPackage = Callable[[Tensor, Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]  # input, state, weights


def open_packages(folder: Path, manifest: KeptWays) -> dict[str, RunPackage]:
    """Return all packages of a folder, loaded. Raises UserError."""
    names = {name for shape in manifest.shapes for name in shape.packages.values()}
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
    issue 191715); `manifest.check_folder` has compared the processor. So what it calls then is called here, and
    `aoti_load_package` only where a torch has no such class, or one with other arguments.
    """
    try:
        loader = torch._C._aoti.AOTIModelPackageLoader(str(file), "model", False, 1, -1)
    except (AttributeError, TypeError):
        model: Any = torch._inductor.aoti_load_package(str(file))
        return lambda input, state, weights: model(input, tuple(state), tuple(weights))
    return lambda input, state, weights: loader.boxed_run([input, *state, *weights])


def run_layer(way: str, manifest: KeptWays, holder: nn.Module, steps: Tensor, state: StateParts) -> BatchResults:
    """Run a layer of torch.nn, or a cell that computes the same as one: (seq, batch, features)."""
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

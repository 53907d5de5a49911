"""Keep the fastest ways of a module in a folder: packages of compiled code, weights, and what they were made on.

The folder is written beside its place and renamed when it is complete and was loaded once for a trial, so nobody sees
half of it. A folder that is there already is never touched.
"""

import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from rnnbench.adapt.calls import Adapted
from rnnbench.adapt.contract import on_trial
from rnnbench.adapt.kinds import CELL_OF, RunModule, why_only_as_given
from rnnbench.cells.states import State
from rnnbench.errors import UserError
from rnnbench.harness.live.live_cases import with_threads
from rnnbench.harness.turns.schedule import Progress
from rnnbench.kernels import direct, recurrence
from rnnbench.speedup import fused
from rnnbench.speedup.equal_layer import equal_layer
from rnnbench.speedup.kept import module as kept_module
from rnnbench.speedup.kept.code import parts_of
from rnnbench.speedup.kept.manifest import (
    TRIAL,
    WEIGHTS,
    KeptShape,
    KeptWays,
    Machine,
    TensorForm,
    checksum_of,
)
from rnnbench.speedup.kept.packages import CodeUnit, Package, compile_package, pieces_of
from rnnbench.speedup.ways import ALONE, AS_GIVEN, COMPILED, FUSED, WayName, by_step, run_in_way
from rnnbench.text import ending, first_few, first_line
from rnnbench.version import __version__
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.parity import TOLERANCES

OWN_LAYERS = ("torch.nn", FUSED)  # ways in which a cell runs by its weights alone
ON = "cpu"  # the device of what can be kept
ARGUMENTS = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
MORE_ARGUMENTS = {"RNN": ("nonlinearity",), "LSTM": ("proj_size",)}
TRIAL_STEPS = 2  # of the input with which the equal layer of a cell is found


def save(
    run: RunModule, frame: pd.DataFrame, folder: Path, on_progress: Callable[[Progress], None] = lambda step: None
) -> KeptWays:
    """Keep the ways that a table chooses for inference; see `FastestModule.save`. Raises UserError."""
    folder = Path(folder)
    refuse_existing(folder)
    rows = _rows(frame)
    with _new_folder(folder) as unfinished, torch.inference_mode(mode=False):
        # A copy is exported: torch calls its code with stand-ins for tensors.
        saving = _Saving(replace(run, module=on_trial(run.module).eval()), unfinished, on_progress)
        manifest = saving.manifest(rows)
        manifest.write(unfinished)
        kept_module.load(unfinished)  # its trial has to agree with the module as given
    return manifest


def refuse_existing(folder: Path) -> None:
    """Raise UserError if a folder can't be made there; an empty one can."""
    place = folder.absolute()
    try:
        if place.is_dir() and not any(place.iterdir()) and not place.is_symlink() and place != Path.cwd():
            return
    except OSError as error:
        raise UserError(f"{folder}: can't be read: {error.strerror}; give the name of a new folder") from None
    if os.path.lexists(folder):
        raise UserError(f"{folder} already exists; give the name of a new folder")
    above = next(each for each in place.parents if os.path.lexists(each))
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise UserError(f"{folder}: can't be written: {above} is no folder that you may write to; give another folder")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder`, which gets that name at the end, or is removed after an error."""
    unfinished = folder.absolute().parent / f".rnnbench-{secrets.token_hex(4)}.new"
    try:
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{folder}: can't be written: {error.strerror}; give another folder") from None
    try:
        yield unfinished
        unfinished.rename(folder)  # fails if somebody has put something there
    except OSError as error:
        raise UserError(f"{folder}: can't be written: {error.strerror}; give another folder") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _rows(frame: pd.DataFrame) -> list[Any]:
    """Return the chosen rows that can be kept; raises UserError if there is none."""
    chosen = frame[frame["is_chosen"].astype(bool)]
    rows = chosen[(chosen["phase"] == "inference") & (chosen["device"] == ON) & ~chosen["dtype"].str.contains("auto")]
    if rows.empty:
        searched = first_few([*dict.fromkeys(f"{row.phase} on {row.device}" for row in chosen.itertuples())], 3)
        raise UserError(
            f"nothing to save: only inference on {ON}, without autocast, can be kept, and {searched} was searched; use "
            "rnnbench.fastest(module, input, phase='inference')"
        )
    return list(rows.itertuples())


def _write_tensors(value: Any, file: Path) -> None:
    """Write tensors; raises OSError, which torch's own writing does not on a full disk."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    file.write_bytes(buffer.getvalue())


@dataclass
class _Saving:
    """One folder in the making."""

    run: RunModule
    folder: Path
    on_progress: Callable[[Progress], None]
    packages: dict[Any, Package] = field(default_factory=dict)  # by what their code depends on
    trials: list[dict[str, Any]] = field(default_factory=list)  # of each shape
    returns_state: bool = True

    def manifest(self, rows: list[Any]) -> KeptWays:
        """Write all files but `fastest.json`, and return its content."""
        run = self.run
        module = run.given
        example = run.example
        if example is None:
            raise UserError("this module was not found by rnnbench.fastest of this version; search again, then save")
        dtype = str(example.dtype).removeprefix("torch.")
        equal_layer = self._equal_layer(rows)
        shapes = self._shapes(rows)
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        _write_tensors({name: each.detach().clone() for name, each in tensors.items()}, self.folder / WEIGHTS)
        _write_tensors(self.trials, self.folder / TRIAL)
        libraries = self._libraries(rows, equal_layer)
        return KeptWays(
            machine=Machine.here(),
            module=type(module).__name__,
            kind=run.kind,
            features=tuple(example.shape[2:]),
            dtype=dtype,
            state=tuple((_of_one(part), str(part.dtype).removeprefix("torch.")) for part in self.trials[0]["state"]),
            needs_state=run.begins_with != "zeros" or (run.kind == "sequence" and bool(self.trials[0]["state"])),
            is_batch_first=run.is_batch_first,
            returns_state=self.returns_state,
            tolerance=TOLERANCES.get(dtype, TOLERANCES["float32"]),  # type: ignore[call-overload]
            shapes=shapes,
            takes={name: _form(tensor) for name, tensor in tensors.items()},
            files={file.name: checksum_of(file) for file in sorted(self.folder.iterdir())},
            volatile=tuple(name for name in tensors if name not in module.state_dict()),
            layer=_kept_layer(module) if run.kind == "layer" else None,
            equal_layer=equal_layer,
            libraries=libraries,
            rnnbench=__version__,
        )

    def _shapes(self, rows: list[Any]) -> tuple[KeptShape, ...]:
        """Return the shapes that can be kept, with their trials; raises UserError if there is none.

        A module of the user's own class that runs as given has no code of its own.
        """
        shapes = []
        reasons: dict[str, None] = {}
        for number, row in enumerate(rows):
            shape, trial = self._shape(row, number, len(rows))
            if self.run.kind != "layer" and shape.way == AS_GIVEN:
                reasons[shape.reason] = None
            else:
                shapes.append(shape)
                self.trials.append(trial)
        if not shapes:
            raise UserError(
                f"nothing to save: {type(self.run.given).__name__} runs as given, and no code of its own can be kept"
                f"{''.join(f'; {reason}' for reason in reasons if reason)}. Keep its state_dict instead"
            )
        return tuple(shapes)

    def _shape(self, row: Any, number: int, of: int) -> tuple[KeptShape, dict[str, Any]]:
        """Compile what a shape needs, and run its trial."""
        packages_before = len(self.packages)
        shape = KeptShape(int(row.seq_len), int(row.batch_size), int(row.threads), row.way)
        with torch.no_grad(), with_threads(shape.threads):
            trial = self._trial(shape.seq_len, shape.batch_size)
            if row.way in COMPILED:
                stage = f"compiling ({row.way}), shape {number + 1} of {of}"
                self.on_progress(Progress(0, number, of, _known(row.compile_seconds), stage=stage))
                try:
                    shape = self._compiled(shape, row.way, trial["input"], trial["state"])
                except Skip as fault:
                    shape = replace(shape, way=AS_GIVEN, reason=str(fault))
        new = [*self.packages.values()][packages_before:]
        shape = replace(
            shape,
            seconds=_known(row.seconds) if shape.way == row.way else None,
            ratio=_known(row.ratio) if shape.way != AS_GIVEN else None,
            compile_seconds=sum(package.compile_seconds for package in new),
        )
        return shape, trial

    def _input(self, steps: int, batch: int) -> Tensor:
        """Return a random input (seq, batch, ...) with the values of the one that the search was given."""
        like = self.run.example
        assert like is not None
        generator = torch.Generator().manual_seed(0)
        sizes = (steps, batch, *like.shape[2:])
        if like.is_floating_point():
            return torch.randn(sizes, generator=generator).to(like.dtype)
        return like.flatten()[torch.randint(like.numel(), sizes, generator=generator)]

    def _first_state(self, input: Tensor) -> State:
        try:
            state = self.run.first_state(input)
        except ValueError:  # the module keeps its own state: each call is given one
            state = self.run.zeros(input)
        return tree_map_only(Tensor, Tensor.detach, state)

    def _trial(self, steps: int, batch_size: int) -> dict[str, Any]:
        """Return an input and a state of these sizes, and what the module as given makes of them."""
        input = self._input(steps, batch_size)
        state = self._first_state(input)
        outputs, final = run_in_way(self.run, AS_GIVEN, by_step(self.run, input), state)
        self.returns_state = final is not ALONE
        trial = {"input": input, "outputs": by_step(self.run, outputs)}
        parts = {"state": parts_of(state), "final": parts_of(final if self.returns_state else None)}
        return {name: each.detach().contiguous().clone() for name, each in trial.items()} | {
            name: [part.detach().contiguous().clone() for part in each] for name, each in parts.items()
        }

    def _compiled(self, shape: KeptShape, way: WayName, input: Tensor, state: Sequence[Tensor]) -> KeptShape:
        """Return a shape with packages of its pieces; raises Skip if they can't be compiled."""
        compiled.check(ON)
        if reason := why_only_as_given(self.run.module, self.run.kind):
            raise Skip(reason)
        pieces = pieces_of(self.run, len(input))
        packages = {}
        for steps in dict.fromkeys(pieces):
            piece = by_step(self.run, input) if self.run.kind == "sequence" else input[:steps]
            packages[steps] = self._package(way, piece.contiguous(), state).name
        return replace(shape, pieces=tuple(pieces), packages=packages)

    def _package(self, way: WayName, input: Tensor, state: Sequence[Tensor]) -> Package:
        """Return the package of a way for an input and a state of these shapes."""
        key = (way, torch.get_num_threads(), *map(_form, (input, *state)))
        if key not in self.packages:
            file = self.folder / f"package-{len(self.packages) + 1}.pt2"
            try:
                self.packages[key] = compile_package(CodeUnit.from_run(self.run, way), way, input, state, file)
            except Skip:
                raise
            except Exception as error:  # whatever torch or a stranger's code raises
                raise Skip(f"it can't be compiled into a package: {first_line(error) or ending(error)}") from error
        return self.packages[key]

    def _libraries(self, rows: list[Any], equal_layer: Mapping[str, Any] | None) -> dict[str, tuple[str, str]]:
        """Copy rnnbench's own C that packages and ways call; see `KeptWays.libraries`."""
        called = {value for package in self.packages.values() for value in package.products}
        files = {value: direct.library_file(dtype) for dtype, value in direct.VALUES.items() if value in called}
        sources = dict.fromkeys(files, direct.SOURCE)
        if any(row.way == FUSED for row in rows):
            module = self.run.module
            cell = fused.layer_code(module) if equal_layer is None else recurrence.CELLS[equal_layer["function"]]
            assert cell is not None
            recurrence.functions(cell)
            files[cell.name] = recurrence.library_file(cell)
            sources[cell.name] = cell.source
        for file in files.values():
            shutil.copy(file, self.folder / file.name)
        return {name: (file.name, direct.source_key(sources[name])) for name, file in files.items()}

    def _equal_layer(self, rows: list[Any]) -> dict[str, Any] | None:
        """Return the layer of torch.nn that computes the same as a cell, if ways need it; else None."""
        if self.run.kind != "cell" or not any(row.way in OWN_LAYERS for row in rows):
            return None
        input = self._input(TRIAL_STEPS, TRIAL_STEPS)
        layer = equal_layer(self.run.module, input, self._first_state(input))
        return None if layer is None else layer.to_json("given." if isinstance(self.run.module, Adapted) else "")


def _known(number: Any) -> float | None:
    return None if pd.isna(number) else float(number)


def _of_one(part: Tensor) -> tuple[int, ...]:
    """Return the shape of a part of a state for one sequence."""
    return (part.shape[0], 1, *part.shape[2:])


def _form(tensor: Tensor) -> TensorForm:
    return tuple(tensor.shape), tuple(tensor.stride()), str(tensor.dtype).removeprefix("torch.")


def _kept_layer(layer: nn.Module) -> dict[str, Any]:
    name = next(each.__name__ for each in CELL_OF if type(layer) is each)
    return {"name": name} | {key: getattr(layer, key) for key in (*ARGUMENTS, *MORE_ARGUMENTS.get(name, ()))}

"""The module that `rnnbench.load_fastest` makes of a folder: each kept shape runs in its way, all else is refused.

To load it takes as long as to read the files and to open the compiled code: nothing is compiled.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn

from rnnbench.errors import UserError
from rnnbench.speedup.kept.code import BatchResults, RunPackage, StateParts, open_packages, parts_of, run_layer
from rnnbench.speedup.kept.manifest import (
    AGAIN,
    COPY_AGAIN,
    TRIAL,
    WEIGHTS,
    KeptShape,
    KeptWays,
    check_folder,
    damaged,
    read_manifest,
)
from rnnbench.text import first_line, listed


def load(folder: Path) -> "KeptModule":
    """Load a folder; see `rnnbench.load_fastest`. Raises UserError."""
    manifest = read_manifest(folder)
    check_folder(folder, manifest)
    weights = _tensors(folder / WEIGHTS)
    trials = _tensors(folder / TRIAL)
    if len(trials) != len(manifest.shapes):
        raise damaged(folder)
    packages = open_packages(folder, manifest)
    try:
        loaded = KeptModule(manifest, folder, weights, packages)
    except (AttributeError, KeyError, TypeError):  # a name in the manifest is none of these
        raise damaged(folder) from None
    loaded.check(trials)
    return loaded


def _tensors(file: Path) -> Any:
    """Return the tensors of a file; only tensors are read, and no code is run. Raises UserError."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:  # whatever torch raises for a file that is none of its own
        raise UserError(f"{file} can't be read: {first_line(error)}; {COPY_AGAIN}, or {AGAIN}") from error


class KeptModule(nn.Module):
    """Runs the shapes of a folder in their ways: `module(input, state=None) -> (outputs, state)`, without gradients.

    Parameters and buffers have the names that they have in the module as given. Code takes them in each call, so a new
    `state_dict` counts from the next call on.
    """

    manifest: KeptWays
    folder: Path
    _packages: Mapping[str, RunPackage]
    _layer: nn.Module | None  # of torch.nn, if the module as given is one; its parameters are those of this module
    _places: list[tuple[dict[str, Any], str]]  # of the weights that compiled code takes

    def __init__(
        self, manifest: KeptWays, folder: Path, weights: Mapping[str, Tensor], packages: Mapping[str, RunPackage]
    ) -> None:
        super().__init__()
        kept = {"manifest": manifest, "folder": folder, "_packages": packages, "_layer": None}
        self.__dict__ |= kept  # no submodules
        if manifest.layer is None:
            _hold(self, weights, manifest.volatile)
        else:
            arguments = dict(manifest.layer)
            kind = getattr(nn, arguments.pop("name"))
            layer = kind(**arguments, dtype=next(iter(weights.values())).dtype).eval()
            layer.requires_grad_(requires_grad=False)
            self.__dict__ |= {"_layer": layer, "_parameters": layer._parameters}
            self.load_state_dict(weights)
        self.__dict__["_places"] = [self._place(path) for path in manifest.takes]
        self.eval()

    def _place(self, path: str) -> tuple[dict[str, Any], str]:
        parent, _, name = path.rpartition(".")
        owner = self.get_submodule(parent)
        return cast("Any", owner._parameters if name in owner._parameters else owner._buffers), name

    def forward(self, input: Any, state: Any = None, *, hx: Any = None) -> Any:
        """As torch.nn's layers: (seq, batch, features), or (batch, seq, features) if the module reads it so.

        Raises ValueError for a call that is not kept.
        """
        state = hx if state is None else state
        if reason := self._why_other(input, state):
            raise self._refusal(reason)
        is_batch_first = self.manifest.is_batch_first
        steps = input.transpose(0, 1) if is_batch_first else input
        shape = self._shape_of(len(steps), steps.shape[1])
        with torch.no_grad():
            outputs, final = self._run(shape, steps, self._first_state(steps, state))
        outputs = outputs.transpose(0, 1) if is_batch_first else outputs
        if not self.manifest.returns_state:
            return outputs
        return outputs, final[0] if len(final) == 1 else final

    def _shape_of(self, seq_len: int, batch_size: int) -> KeptShape:
        """Return the shape of these sizes, best for torch's number of threads now; raises ValueError."""
        sizes = (seq_len, batch_size)
        alike = [shape for shape in self.manifest.shapes if (shape.seq_len, shape.batch_size) == sizes]
        if not alike:
            raise self._refusal(f"batch {batch_size}, length {seq_len} is not kept")
        threads = torch.get_num_threads()
        return next((shape for shape in alike if shape.threads == threads), alike[0])

    def _run(self, shape: KeptShape, steps: Tensor, state: StateParts) -> BatchResults:
        """Run a kept shape over an input (seq, batch, ...), piece by piece if its way is compiled."""
        if not shape.packages:
            return run_layer(shape.way, self.manifest, self._layer or self, steps, state)
        weights = self._weights()
        is_turned = self.manifest.kind == "sequence" and self.manifest.is_batch_first
        outputs = []
        for piece in torch.split(steps, list(shape.pieces)):
            input = (piece.transpose(0, 1) if is_turned else piece).contiguous()
            of_piece, *final = self._packages[shape.packages[len(piece)]](input, state, weights)
            state = tuple(final)
            outputs.append(of_piece.transpose(0, 1) if is_turned else of_piece)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs), state

    def _weights(self) -> list[Tensor]:
        """Return the weights as they are now; raises ValueError if the code was not compiled for such."""
        weights = []
        for (owner, name), (path, form) in zip(self._places, self.manifest.takes.items(), strict=True):
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

    def _refusal(self, reason: str) -> ValueError:
        shapes = listed([*dict.fromkeys(map(str, self.manifest.shapes))])
        return ValueError(f"{reason}; {self.folder} keeps {shapes} of {self.manifest.module}, without gradients")

    def _why_other(self, input: Any, state: Any) -> str:
        """Return why a call is none of those that are kept, whatever its sizes; empty if it may be one."""
        if reason := self._why_other_input(input):
            return reason
        if self.training:
            return "the module is in training mode, and evaluation mode is kept"
        if state is None and self.manifest.needs_state:
            return "a call without a state begins with the module's own"
        parts = parts_of(state)
        if torch.is_grad_enabled() and any(each.requires_grad for each in (input, *parts, *self.parameters())):
            return "gradients are needed"
        return self._fault_of(parts, input) if state is not None else ""

    def _why_other_input(self, input: Any) -> str:
        manifest = self.manifest
        if not isinstance(input, Tensor) or input.dim() != 2 + len(manifest.features):
            return "the input is no batch of sequences"
        if tuple(input.shape[2:]) != manifest.features or str(input.dtype) != f"torch.{manifest.dtype}":
            return f"the input is {tuple(input.shape)} of {input.dtype}, and others are kept"
        if not input.is_cpu:
            return f"the input is on {input.device}"
        return "autocast is on" if torch.is_autocast_enabled("cpu") else ""

    def _fault_of(self, parts: StateParts, input: Tensor) -> str:
        if not self.manifest.state:
            return "a call with a state is not kept"
        batch = input.shape[0 if self.manifest.is_batch_first else 1]
        expected = [(shape[0], batch, *shape[2:]) for shape, _ in self.manifest.state]
        sizes = [tuple(part.shape) for part in parts]
        if sizes == expected:
            kinds = [f"torch.{dtype}" for _, dtype in self.manifest.state]
            found = [str(part.dtype) for part in parts]
            is_here = all(part.is_cpu for part in parts)
            if kinds == found and is_here:
                return ""
            places = ", ".join(f"{part.dtype} on {part.device}" for part in parts)
            return f"state: expected {', '.join(kinds)} on cpu, found {places}"
        words = [" and ".join(map(str, each)) or "none" for each in (expected, sizes)]
        return f"state: expected {words[0]} as (layers, batch, ...), found {words[1]}"

    def _first_state(self, steps: Tensor, state: Any) -> StateParts:
        """Return the parts of the state that a call begins with."""
        if state is not None:
            return tuple(part.contiguous() for part in parts_of(state))
        return tuple(
            torch.zeros(shape[0], steps.shape[1], *shape[2:], dtype=getattr(torch, dtype))
            for shape, dtype in self.manifest.state
        )

    def check(self, trials: Sequence[Mapping[str, Any]]) -> None:
        """Compare the results of each shape's trial input with those of the machine that saved; raises UserError."""
        for trial, shape in zip(trials, self.manifest.shapes, strict=True):
            with torch.inference_mode():
                outputs, final = self._run(shape, trial["input"], tuple(trial["state"]))
            pairs = zip((outputs, *final), (trial["outputs"], *trial["final"]), strict=True)
            error = max((relative_error(value, expected) for value, expected in pairs), key=_largest)
            if not error <= self.manifest.tolerance:
                raise UserError(
                    f"{self.folder}: the results of its trial input ({shape}) are off by {error:.1e} of the largest "
                    f"value here; {self.manifest.tolerance:.0e} is allowed; {AGAIN}"
                )

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeptModule":
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        weights = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        return KeptModule(self.manifest, self.folder, weights, self._packages).train(self.training)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a kept module can't be pickled; load its folder: rnnbench.load_fastest(folder)")

    def __repr__(self) -> str:
        """Say which shape runs in which way."""
        lines = [f"Fastest ways to run {self.manifest.module}, kept in {self.folder}"]
        for shape in self.manifest.shapes:
            timed = "" if shape.seconds is None else f", {1e3 * shape.seconds:.3g} ms when it was measured"
            timed += "" if shape.ratio is None else f", {shape.ratio:.2f} times the time as given"
            lines.append(f"  {shape}: {shape.way}{timed}")
        return "\n".join([*lines, "  all others, gradients and other types: refused"])


def _hold(root: nn.Module, weights: Mapping[str, Tensor], volatile: Sequence[str]) -> None:
    """Put tensors under their names into a module; those in floating point are parameters.

    `volatile`: names of buffers that are no part of a `state_dict`.
    """
    for path, tensor in weights.items():
        *parents, name = path.split(".")
        owner = root
        for parent in parents:
            if parent not in owner._modules:
                owner.add_module(parent, nn.Module())
            owner = cast("nn.Module", owner._modules[parent])
        if tensor.is_floating_point() and path not in volatile:
            owner.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
        else:
            owner.register_buffer(name, tensor, persistent=path not in volatile)


def relative_error(values: Tensor, expected: Tensor) -> float:
    """Return the largest difference in shares of the largest value; infinite for other shapes, NaN if it is NaN."""
    if values.shape != expected.shape or values.dtype != expected.dtype:
        return math.inf
    if not expected.numel():
        return 0.0
    largest = float(expected.abs().max())
    return float((values - expected).abs().max()) / max(largest, 1e-30)


def _largest(error: float) -> float:
    return math.inf if math.isnan(error) else error

"""The module that `rnnbench.load_fastest` makes of a folder: each kept shape runs in its way, all else as given.

To load it takes as long as to read the files and to open the compiled code: nothing is compiled, and what only other
shapes need is imported when they come.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from rnnbench.errors import UserError
from rnnbench.speedup.kept.code import (
    AS_GIVEN,
    EQUAL_LAYER,
    FUSED,
    KeptRuns,
    LoadedShape,
    LoadedUnit,
    RunPackage,
    StateParts,
    open_packages,
    parts_of,
)
from rnnbench.speedup.kept.manifest import AGAIN, TRIAL, WEIGHTS, KeptWays, check, read
from rnnbench.speedup.kept.shapes import LoadedShapes, other_sizes
from rnnbench.speedup.kept.weights import holder_of, layer_with_weights, read_tensors, with_weights
from rnnbench.text import listed


def load(folder: Path, as_given: nn.Module | None = None) -> "KeptModule":
    """Load a folder; see `rnnbench.load_fastest`. Raises UserError."""
    manifest = read(folder)
    check(folder, manifest)
    weights = read_tensors(folder / WEIGHTS)
    module: nn.Module | None = None
    if as_given is not None:
        module = with_weights(as_given, weights)
    elif manifest.layer is not None:
        module = layer_with_weights(manifest.layer, weights)
    holder = holder_of(weights, manifest.volatile) if module is None else module
    trials = read_tensors(folder / TRIAL)
    loaded = KeptModule(
        manifest, folder, holder, open_packages(folder, manifest), trials[0][0], has_class=module is not None
    )
    loaded.train(manifest.training)
    loaded.check(trials)
    return loaded


class KeptModule(nn.Module):
    """Runs the shapes of a folder in their ways: `module(input, state=None) -> (outputs, state)`, without gradients.

    Parameters and buffers have the names that they have in the module as given. Code takes them in each call, so a new
    `state_dict` counts from the next call on. Any other call runs as given: another shape, dtype or device, gradients,
    autocast, a packed sequence, more arguments.
    """

    manifest: KeptWays
    folder: Path
    _holder: nn.Module
    _packages: Mapping[str, RunPackage]
    _trial: Mapping[str, Any]  # of the first shape
    _has_class: bool
    _has_warned: bool
    _shapes: LoadedShapes
    _runs: KeptRuns
    _other: Callable[..., Any] | None  # runs all that is not kept

    def __init__(
        self,
        manifest: KeptWays,
        folder: Path,
        holder: nn.Module,
        packages: Mapping[str, RunPackage],
        trial: Mapping[str, Any],
        *,
        has_class: bool,
    ) -> None:
        """`holder`: has the weights; it is the module as given, or one of its class, if `has_class`."""
        super().__init__()
        self.__dict__ |= {
            "manifest": manifest,
            "folder": folder,
            "_holder": holder,
            "_packages": packages,
            "_trial": trial,
        }
        self.__dict__ |= {"_has_class": has_class, "_other": None, "_has_warned": False}
        for name in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            self.__dict__[name] = getattr(holder, name)
        shapes = [
            LoadedShape(shape, [LoadedUnit.of(unit, holder, packages) for unit in shape.units])
            for shape in manifest.shapes
        ]
        self.__dict__ |= {"_shapes": LoadedShapes(manifest, shapes, has_class), "_runs": KeptRuns(manifest, holder)}

    def forward(self, input: Any, state: Any = None, *, hx: Any = None, **more: Any) -> Any:
        """As torch.nn's layers: (seq, batch, features), or (batch, seq, features) if the module reads it so.

        Raises ValueError for a call that is not kept if the module as given is not there.
        """
        state = hx if state is None else state
        manifest = self.manifest
        reason = "a call has other arguments" if more else self._why_other(input, state)
        if reason:
            return self._as_given(reason, input, state, more)
        steps = input.transpose(0, 1) if manifest.is_batch_first else input
        shape = self._shapes.shape_of(len(steps), steps.shape[1])
        if shape is None:
            return self._as_given(f"batch {steps.shape[1]}, length {len(steps)} is not kept", input, state, more)
        run = self._runs.run_of(shape)
        if run is None:
            reason = "its weights have another form than the saved ones: shape, order or type" if shape.units else ""
            return self._as_given(reason, input, state, more)
        with torch.no_grad():
            outputs, final = run(steps, self._state(steps, state))
        outputs = outputs.transpose(0, 1) if manifest.is_batch_first else outputs
        if not manifest.returns_state:
            return outputs
        return outputs, final[0] if len(final) == 1 else final

    def _why_other(self, input: Any, state: Any) -> str:
        """Return why a call is none of those that are kept, whatever its sizes; empty if it may be one."""
        manifest = self.manifest
        if not isinstance(input, Tensor) or input.dim() != 2 + len(manifest.features):
            return "the input is no batch of sequences"
        parts = parts_of(state)
        is_other_input = tuple(input.shape[2:]) != manifest.features or str(input.dtype) != f"torch.{manifest.dtype}"
        lacks_state = state is None and (
            manifest.begins_with != "zeros" or (manifest.kind == "sequence" and manifest.state)
        )
        has_more = manifest.kind == "sequence" and state is not None and not manifest.state
        reasons = (
            (
                is_other_input or not input.is_cpu,
                f"the input is {tuple(input.shape)} of {input.dtype} on {input.device}, and others are kept",
            ),
            (torch.is_autocast_enabled("cpu"), "autocast is on"),
            (
                manifest.mode_matters and self.training != manifest.training,
                f"the module is in {'training' if self.training else 'evaluation'} mode, and was saved in the other",
            ),
            (lacks_state, "a call without a state begins with the module's own"),
            (has_more, "a call with a state is not kept"),
        )
        reason = next((reason for is_so, reason in reasons if is_so), "")
        if not reason and state is not None and (fault := self._fault_of(parts, input)):
            raise ValueError(fault)
        if not reason and torch.is_grad_enabled():
            needs = any(each.requires_grad for each in (input, *parts, *self.parameters()))
            reason = "gradients are computed" if needs else ""
        return reason

    def _fault_of(self, parts: StateParts, input: Tensor) -> str:
        batch = input.shape[0 if self.manifest.is_batch_first else 1]
        expected = [(shape[0], batch, *shape[2:]) for shape, _ in self.manifest.state]
        sizes = [tuple(part.shape) for part in parts]
        if sizes == expected:
            return ""
        words = [" and ".join(map(str, each)) or "none" for each in (expected, sizes)]
        return f"state: expected {words[0]} as (layers, batch, ...), found {words[1]}"

    def _state(self, steps: Tensor, state: Any) -> StateParts:
        """Return the parts of the state that a call begins with."""
        if state is not None:
            return tuple(part.contiguous() for part in parts_of(state))
        return tuple(
            torch.zeros(shape[0], steps.shape[1], *shape[2:], dtype=getattr(torch, dtype))
            for shape, dtype in self.manifest.state
        )

    def _as_given(self, reason: str, input: Any, state: Any, more: Mapping[str, Any]) -> Any:
        """Run a call as given, and say once for which reason, if there is one."""
        if not self._has_class:
            shapes = listed([*dict.fromkeys(map(str, self.manifest.shapes))])
            raise ValueError(
                f"{reason or 'this shape runs as given'}; {self.folder} keeps {shapes} of {self.manifest.module}. To "
                "run anything else, give the module: rnnbench.load_fastest(folder, as_given=module)"
            )
        if reason and not self._has_warned:
            self.__dict__["_has_warned"] = True
            warnings.warn(f"{self.manifest.module} runs as given: {reason} (said once)", stacklevel=5)
        if self._other is None:
            self.__dict__["_other"] = self._made_other()
        return self._other(input, *(() if state is None else (state,)), **more)  # type: ignore[misc]

    def _made_other(self) -> Callable[..., Any]:
        """Return what runs a call as given: the module, or a cell over a sequence, in ways without a compiler."""
        eager = [shape for shape in self.manifest.shapes if not shape.units]
        if self.manifest.kind != "cell" and all(shape.way == AS_GIVEN for shape in eager):
            return self._holder
        from rnnbench.speedup.run_in_ways import RunInWays
        from rnnbench.speedup.search import recognised
        from rnnbench.speedup.ways import ways_table

        trial = self._trial
        input = trial["input"].transpose(0, 1) if self.manifest.is_batch_first else trial["input"]
        example = (input, _whole_state(trial["state"])) if self.manifest.begins_with != "zeros" else input
        run = recognised(self._holder, example)[0]
        sizes = {"input_size": trial["input"][0, 0].numel(), "dtype": self.manifest.dtype, "device": "cpu"}
        rows = [
            {
                "seq_len": shape.seq_len,
                "batch_size": shape.batch_size,
                "threads": shape.threads,
                "phase": "inference",
                "way": AS_GIVEN if shape.units else shape.way,
                **sizes,
            }
            for shape in self.manifest.shapes
        ]
        return RunInWays(run, ways_table(rows))

    def check(self, trials: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """Compare the outputs of the trial inputs with those of the machine that saved; raises UserError.

        `trials`: of each shape; code for any batch size has two, of other sizes.
        """
        for of_shape, loaded in zip(trials, self._shapes.shapes, strict=True):
            for trial in of_shape:
                self._compare(trial, loaded)

    def _compare(self, trial: Mapping[str, Any], loaded: LoadedShape) -> None:
        """Run a trial input by the code of a shape; raises UserError if it is off."""
        run = self._runs.run_of(loaded)
        if run is None:
            return
        with torch.inference_mode():
            outputs, final = run(trial["input"], tuple(trial["state"]))
        values = {"outputs": (outputs, trial["outputs"])}
        values |= {f"final state ({index})": pair for index, pair in enumerate(zip(final, trial["final"], strict=True))}
        for name, (value, expected) in values.items():
            error = relative_error(value, expected)
            if not error <= self.manifest.tolerance:
                steps, batch = trial["input"].shape[:2]
                raise UserError(
                    f"{self.folder}: the {name} of its trial input (batch {batch}, length {steps}) are off by "
                    f"{error:.1e} of the largest value here; {self.manifest.tolerance:.0e} is allowed; {AGAIN}"
                )

    def train(self, mode: bool = True) -> "KeptModule":
        """Set the mode, also of the module as given."""
        self._holder.train(mode)
        self.training = mode
        return self

    def _apply(self, *arguments: Any, **options: Any) -> "KeptModule":
        """Convert the weights; code that was compiled for others is not used then."""
        convert: Any = self._holder._apply
        convert(*arguments, **options)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        holder = self.__dict__.get("_holder")
        is_weight = holder is not None and any(name in part for part in (holder._parameters, holder._buffers))
        if is_weight:
            setattr(holder, name, value)
        else:
            super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeptModule":
        holder = deepcopy(self._holder, memo)
        copied = KeptModule(self.manifest, self.folder, holder, self._packages, self._trial, has_class=self._has_class)
        copied.training = self.training
        return copied

    def __reduce__(self) -> NoReturn:
        raise TypeError("a kept module can't be pickled; load its folder: rnnbench.load_fastest(folder)")

    def __repr__(self) -> str:
        """Say which shape runs in which way."""
        lines = [f"Fastest ways to run {self.manifest.module}, kept in {self.folder}"]
        for shape in self.manifest.shapes:
            way = shape.way if shape.units or shape.way in (AS_GIVEN, EQUAL_LAYER, FUSED) else f"{shape.way}, as given"
            timed = "" if shape.seconds is None else f", {1e3 * shape.seconds:.3g} ms when it was measured"
            timed += "" if shape.ratio is None else f", {shape.ratio:.2f} times the time as given"
            lines.append(f"  batch {shape.batch_size}, length {shape.seq_len}: {way}{timed}")
        others = "as given" if self._has_class else "refused, unless the module is given: as_given=module"
        lines += other_sizes(self.manifest)
        return "\n".join([*lines, f"  all others, gradients and other types: {others}"])


def relative_error(values: Tensor, expected: Tensor) -> float:
    """Return the largest difference in shares of the largest value; infinite for other shapes, NaN if it is NaN."""
    if values.shape != expected.shape or values.dtype != expected.dtype:
        return math.inf
    if not expected.numel():
        return 0.0
    largest = float(expected.abs().max())
    return float((values - expected).abs().max()) / max(largest, 1e-30)


def _whole_state(parts: Sequence[Tensor]) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts) or None

"""The module that `rnnbench.load_fastest` makes of a folder: each kept shape runs in its way, all else as given.

To load it takes as long as to read the files and to open the compiled code: nothing is compiled, and what only other
shapes need is imported when they come.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn

from rnnbench.errors import UserError
from rnnbench.speedup.batches import StateParts
from rnnbench.speedup.kept import AGAIN, TRIAL, WEIGHTS, KeptLayer, KeptShape, KeptUnit, KeptWays, check, read
from rnnbench.speedup.shapes import in_blocks
from rnnbench.text import first_line, listed

# ways
AS_GIVEN = "as given"
EQUAL_LAYER = "torch.nn"
FUSED = "fused"
LSTM = "lstm"  # the library of the way `fused`
RunPackage = Callable[[Tensor, Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]  # input, state, weights
RunShape = Callable[[Tensor, StateParts], tuple[Tensor, StateParts]]  # (seq, batch, ...), state -> outputs, state


def load(folder: Path, as_given: nn.Module | None = None) -> "KeptModule":
    """Load a folder; see `rnnbench.load_fastest`. Raises UserError."""
    kept = read(folder)
    check(folder, kept)
    weights = _tensors(folder / WEIGHTS)
    given: nn.Module | None = None
    if as_given is not None:
        given = _with_weights(as_given, weights)
    elif kept.layer is not None:
        given = _layer(kept.layer, weights)
    holder = _holder(weights, kept.volatile) if given is None else given
    packages = _opened(folder, kept)
    module = KeptModule(kept, folder, holder, packages, has_class=given is not None)
    module.train(kept.training)
    module.check()
    return module


def _tensors(file: Path) -> Any:
    """Return the tensors of a file; only tensors are read, and no code is run. Raises UserError."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251
    except Exception as error:  # whatever torch raises for a file that is none of its own
        raise UserError(f"{file} can't be read: {first_line(error)}; copy the folder again, or {AGAIN}") from error


def _with_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    fits = own.keys() == weights.keys() and all(own[name].shape == weights[name].shape for name in own)
    if not fits:
        apart = sorted(name for name in own.keys() ^ weights.keys()) or [
            name for name in own if own[name].shape != weights[name].shape
        ]
        raise UserError(
            f"as_given: {type(module).__name__} does not have the parameters of the folder: {listed(apart[:3])} "
            "differ; give a module that was built as the saved one was"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])
    return module


def _layer(kept: KeptLayer, weights: Mapping[str, Tensor]) -> nn.Module:
    """Return a layer of torch.nn, made anew."""
    layer: nn.Module = getattr(nn, kept.name)(**kept.arguments, dtype=next(iter(weights.values())).dtype)
    return _with_weights(layer, weights).requires_grad_(requires_grad=False)


def _holder(weights: Mapping[str, Tensor], volatile: Sequence[str]) -> nn.Module:
    """Return modules that have tensors under their names, and do nothing; a tensor in floating point is a parameter."""
    root = nn.Module()
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
    return root


def _opened(folder: Path, kept: KeptWays) -> dict[str, RunPackage]:
    """Return all packages, loaded. Raises UserError."""
    names = {name for shape in kept.shapes for unit in shape.units for name in unit.packages.values()}
    try:
        _load_libraries(folder, kept)
        return {name: run_package(folder / f"{name}.pt2") for name in sorted(names)}
    except (RuntimeError, OSError) as error:
        raise UserError(f"{folder}: its code can't be loaded here: {first_line(error)}; {AGAIN}") from error


def _load_libraries(folder: Path, kept: KeptWays) -> None:
    """Load rnnbench's own C; packages look for the symbols of its products in the process."""
    for name, (file, source) in kept.libraries.items():
        from rnnbench.kernels import direct, lstm

        if direct.source_key(lstm.SOURCE if name == LSTM else direct.SOURCE) != source:
            raise UserError(f"{folder}: it uses C code of rnnbench {kept.rnnbench}, which this one lacks; {AGAIN}")
        if name == LSTM:
            lstm.use_library(folder / file)
        else:
            direct.open_library(folder / file, name)


def run_package(file: Path) -> RunPackage:
    """Load a package, and return a function that runs it. Raises RuntimeError or OSError.

    torch's own `aoti_load_package` first compiles test programs, for seconds, to warn of another processor (PyTorch's
    issue 191715); `check` has compared the processor. So what it calls then is called here, and `aoti_load_package`
    only where a torch has no such class, or one with other arguments.
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

    def weights(self) -> list[Tensor]:
        """Return the weights as they are now."""
        return [owner[name] for owner, name in self.places]

    def fits(self) -> bool:
        """Return whether the weights still have the shapes, strides and types for which the code was compiled."""
        return all(
            (tuple(tensor.shape), tensor.stride(), str(tensor.dtype)[6:]) == form and tensor.is_cpu
            for tensor, form in zip(self.weights(), self.unit.takes, strict=True)
        )

    def run(self, pieces: Sequence[int], input: Tensor, state: StateParts) -> tuple[Tensor, StateParts]:
        """Run pieces of these numbers of steps, one after the other."""
        weights = self.weights()
        outputs = []
        parts = torch.split(input, list(pieces)) if len(pieces) > 1 else (input,)
        for steps, part in zip(pieces, parts, strict=True):
            shown, *final = self.packages[steps](part, state, weights)
            state = tuple(final)
            outputs.append(shown)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs), state


@dataclass(frozen=True)
class LoadedShape:
    """A kept shape with the code that runs it."""

    shape: KeptShape
    units: Sequence[LoadedUnit]


class KeptModule(nn.Module):
    """Runs the shapes of a folder in their ways: `module(input, state=None) -> (outputs, state)`, without gradients.

    Parameters and buffers have the names that they have in the module as given. Code takes them in each call, so a new
    `state_dict` counts from the next call on. Any other call runs as given: another shape, dtype or device, gradients,
    autocast, a packed sequence, more arguments.
    """

    def __init__(
        self, kept: KeptWays, folder: Path, holder: nn.Module, packages: Mapping[str, RunPackage], *, has_class: bool
    ) -> None:
        """`holder`: has the weights; it is the module as given, or one of its class, if `has_class`."""
        super().__init__()
        self.__dict__ |= {"kept": kept, "folder": folder, "_holder": holder, "_packages": packages}
        self.__dict__ |= {"_has_class": has_class, "_other": None, "_has_warned": False}
        for name in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            self.__dict__[name] = getattr(holder, name)
        self.__dict__["_shapes"] = [LoadedShape(each, [*map(self._loaded, each.units)]) for each in kept.shapes]
        self.__dict__["_by_sizes"] = {}
        for each in self._shapes:
            sizes = each.shape.seq_len, each.shape.batch_size
            self._by_sizes.setdefault(sizes, {})[each.shape.threads] = each

    kept: KeptWays
    folder: Path
    _holder: nn.Module
    _packages: Mapping[str, RunPackage]
    _has_class: bool
    _has_warned: bool
    _shapes: list[LoadedShape]
    _by_sizes: dict[tuple[int, int], dict[int, LoadedShape]]  # and by threads
    _other: Callable[..., Any] | None  # runs all that is not kept

    def _loaded(self, unit: KeptUnit) -> LoadedUnit:
        places = []
        for path in unit.weights:
            parent, _, name = path.rpartition(".")
            owner = self._holder.get_submodule(parent)
            places.append((cast("Any", owner._parameters if name in owner._parameters else owner._buffers), name))
        return LoadedUnit(unit, {int(steps): self._packages[name] for steps, name in unit.packages.items()}, places)

    def forward(self, input: Any, state: Any = None, *, hx: Any = None, **more: Any) -> Any:
        """As torch.nn's layers: (seq, batch, features), or (batch, seq, features) if the module reads it so.

        Raises ValueError for a call that is not kept if the module as given is not there.
        """
        state = hx if state is None else state
        kept = self.kept
        reason = "a call has other arguments" if more else self._why_other(input, state)
        if reason:
            return self._as_given(reason, input, state, more)
        steps = input.transpose(0, 1) if kept.is_batch_first else input
        shape = self._shape(steps)
        if shape is None:
            return self._as_given(f"batch {steps.shape[1]}, length {len(steps)} is not kept", input, state, more)
        run = self._run_of(shape)
        if run is None:
            reason = "its weights have another form than the saved ones: shape, order or type" if shape.units else ""
            return self._as_given(reason, input, state, more)
        with torch.no_grad():
            outputs, final = run(steps, self._state(steps, state))
        outputs = outputs.transpose(0, 1) if kept.is_batch_first else outputs
        if not kept.returns_state:
            return outputs
        return outputs, final[0] if len(final) == 1 else final

    def _shape(self, steps: Tensor) -> LoadedShape | None:
        sizes = len(steps), steps.shape[1]
        if sizes not in self._by_sizes:
            self._by_sizes[sizes] = self._of_blocks(*sizes)
        by_threads = self._by_sizes[sizes]
        if not by_threads:
            return None
        return by_threads.get(torch.get_num_threads()) or next(iter(by_threads.values()))

    def _of_blocks(self, seq_len: int, batch_size: int) -> dict[int, LoadedShape]:
        """Return how a length that is not kept runs by the code of others at its batch size; empty if it can't."""
        alike = [each for each in self._shapes if each.units and each.shape.batch_size == batch_size]
        found: dict[int, LoadedShape] = {}
        if self.kept.kind == "sequence":
            return found
        for threads in {each.shape.threads for each in alike}:
            first, *others = [each for each in alike if each.shape.threads == threads]
            units = []
            for index, unit in enumerate(first.units):
                packages = dict(unit.packages)
                for other in others:
                    packages |= other.units[index].packages
                units.append(replace(unit, packages=packages))
            sizes = in_blocks(seq_len, sorted(units[0].packages, reverse=True))
            if sum(sizes) == seq_len > 0:
                shape = replace(first.shape, seq_len=seq_len, pieces=tuple(sizes), seconds=None, ratio=None)
                found[threads] = LoadedShape(shape, units)
        return found

    def _why_other(self, input: Any, state: Any) -> str:
        """Return why a call is none of those that are kept, whatever its sizes; empty if it may be one."""
        kept = self.kept
        if not isinstance(input, Tensor) or input.dim() != 2 + len(kept.features):
            return "the input is no batch of sequences"
        parts = _parts(state)
        is_other_input = tuple(input.shape[2:]) != kept.features or str(input.dtype) != f"torch.{kept.dtype}"
        lacks_state = state is None and (kept.begins_with != "zeros" or (kept.kind == "sequence" and kept.state))
        has_more = kept.kind == "sequence" and state is not None and not kept.state
        reasons = (
            (
                is_other_input or not input.is_cpu,
                f"the input is {tuple(input.shape)} of {input.dtype} on {input.device}, and others are kept",
            ),
            (torch.is_autocast_enabled("cpu"), "autocast is on"),
            (
                kept.mode_matters and self.training != kept.training,
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
        batch = input.shape[0 if self.kept.is_batch_first else 1]
        wanted = [(shape[0], batch, *shape[2:]) for shape, _ in self.kept.state]
        found = [tuple(part.shape) for part in parts]
        if found == wanted:
            return ""
        expected = " and ".join(map(str, wanted)) or "none"
        shown = " and ".join(map(str, found)) or "none"
        return f"state: expected {expected} as (layers, batch, ...), found {shown}"

    def _state(self, steps: Tensor, state: Any) -> StateParts:
        """Return the parts of the state that a call begins with."""
        if state is not None:
            return tuple(part.contiguous() for part in _parts(state))
        return tuple(
            torch.zeros(shape[0], steps.shape[1], *shape[2:], dtype=getattr(torch, dtype))
            for shape, dtype in self.kept.state
        )

    def _run_of(self, loaded: LoadedShape) -> RunShape | None:
        """Return what runs a kept shape; None for the module as given, also since weights have another form now."""
        if loaded.units:
            if not all(unit.fits() for unit in loaded.units):
                return None
            run = {"cell": self._one, "layer": self._layers, "sequence": self._whole}[self.kept.kind]
            return partial(run, loaded)
        if loaded.shape.way == FUSED and (self.kept.equal_layer or self.kept.kind == "layer"):
            return self._fused
        return self._equal_layer if loaded.shape.way == EQUAL_LAYER and self.kept.equal_layer else None

    def _one(self, loaded: LoadedShape, steps: Tensor, state: StateParts) -> tuple[Tensor, StateParts]:
        return loaded.units[0].run(loaded.shape.pieces, steps.contiguous(), state)

    def _whole(self, loaded: LoadedShape, steps: Tensor, state: StateParts) -> tuple[Tensor, StateParts]:
        is_turned = self.kept.is_batch_first
        input = (steps.transpose(0, 1) if is_turned else steps).contiguous()
        outputs, final = loaded.units[0].run(loaded.shape.pieces, input, state)
        return outputs.transpose(0, 1) if is_turned else outputs, final

    def _layers(self, loaded: LoadedShape, steps: Tensor, state: StateParts) -> tuple[Tensor, StateParts]:
        units = loaded.units
        pieces = loaded.shape.pieces
        finals: list[StateParts] = []
        for first in range(0, len(units), self.kept.directions):
            outputs = []
            for index in range(first, first + self.kept.directions):
                given = steps.flip(0) if index > first else steps.contiguous()
                shown, final = units[index].run(pieces, given, tuple(part[index : index + 1] for part in state))
                outputs.append(shown.flip(0) if index > first else shown)
                finals.append(final)
            steps = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return steps, finals[0] if len(finals) == 1 else tuple(map(torch.cat, zip(*finals, strict=True)))

    def _equal_layer(self, steps: Tensor, state: StateParts) -> tuple[Tensor, StateParts]:
        from rnnbench.speedup.equal_layer import EqualLayer

        assert self.kept.equal_layer is not None
        layer = EqualLayer.from_json(self.kept.equal_layer)
        outputs, final = layer(self._holder, steps, state[0] if len(state) == 1 else state)
        return outputs, _parts(final)

    def _fused(self, steps: Tensor, state: StateParts) -> tuple[Tensor, StateParts]:
        from rnnbench.speedup import fused
        from rnnbench.speedup.equal_layer import EqualLayer

        if self.kept.equal_layer is None:
            return fused.run_layer(self._holder, steps, state)
        return fused.run_cell(EqualLayer.from_json(self.kept.equal_layer), self._holder, steps, state)

    def _as_given(self, reason: str, input: Any, state: Any, more: Mapping[str, Any]) -> Any:
        """Run a call as given, and say once for which reason, if there is one."""
        if not self._has_class:
            shapes = listed([_sizes(shape) for shape in self.kept.shapes])
            raise ValueError(
                f"{reason or 'this shape runs as given'}; {self.folder} keeps {shapes} of {self.kept.module}. To run "
                "anything else, give the module: rnnbench.load_fastest(folder, as_given=module)"
            )
        if reason and not self._has_warned:
            self.__dict__["_has_warned"] = True
            warnings.warn(f"{self.kept.module} runs as given: {reason} (said once)", stacklevel=5)
        if self._other is None:
            self.__dict__["_other"] = self._made_other()
        return self._other(input, *(() if state is None else (state,)), **more)  # type: ignore[misc]

    def _made_other(self) -> Callable[..., Any]:
        """Return what runs a call as given: the module, or a cell over a sequence, in ways without a compiler."""
        eager = [shape for shape in self.kept.shapes if not shape.units]
        if self.kept.kind != "cell" and all(shape.way == AS_GIVEN for shape in eager):
            return self._holder
        from rnnbench.speedup.search import recognised
        from rnnbench.speedup.ways import RunInWays, ways_table

        trial = _tensors(self.folder / TRIAL)[0]
        input = trial["input"].transpose(0, 1) if self.kept.is_batch_first else trial["input"]
        given = (input, _whole_state(trial["state"])) if self.kept.begins_with != "zeros" else input
        run = recognised(self._holder, given)[0]
        sizes = {"input_size": trial["input"][0, 0].numel(), "dtype": self.kept.dtype, "device": "cpu"}
        rows = [
            {
                "seq_len": shape.seq_len,
                "batch_size": shape.batch_size,
                "threads": shape.threads,
                "phase": "inference",
                "way": AS_GIVEN if shape.units else shape.way,
                **sizes,
            }
            for shape in self.kept.shapes
        ]
        return RunInWays(run, ways_table(rows))

    def check(self) -> None:
        """Compare the outputs of the trial inputs with those of the machine that saved; raises UserError."""
        for trial, loaded in zip(_tensors(self.folder / TRIAL), self._shapes, strict=True):
            run = self._run_of(loaded)
            if run is None:
                continue
            with torch.inference_mode():
                outputs, final = run(trial["input"], tuple(trial["state"]))
            for name, found, expected in (
                ("outputs", outputs, trial["outputs"]),
                *(("final state", *pair) for pair in zip(final, trial["final"], strict=True)),
            ):
                error = _relative_error(found, expected)
                if not error <= self.kept.tolerance:
                    raise UserError(
                        f"{self.folder}: the {name} of its trial input ({_sizes(loaded.shape)}) are off by "
                        f"{error:.1e} of the largest value here; {self.kept.tolerance:.0e} is allowed; {AGAIN}"
                    )

    def train(self, mode: bool = True) -> "KeptModule":
        """Set the mode, also of the module as given."""
        self._holder.train(mode)
        self.training = mode
        return self

    def _apply(self, *given: Any, **more: Any) -> "KeptModule":
        """Convert the weights; code that was compiled for others is not used then."""
        convert: Any = self._holder._apply
        convert(*given, **more)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        holder = self.__dict__.get("_holder")
        is_weight = holder is not None and any(name in part for part in (holder._parameters, holder._buffers))
        if is_weight:
            setattr(holder, name, value)
        else:
            super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> "KeptModule":
        copied = KeptModule(
            self.kept, self.folder, deepcopy(self._holder, memo), self._packages, has_class=self._has_class
        )
        copied.training = self.training
        return copied

    def __reduce__(self) -> NoReturn:
        raise TypeError("a kept module can't be pickled; load its folder: rnnbench.load_fastest(folder)")

    def __repr__(self) -> str:
        """Say which shape runs in which way."""
        lines = [f"Fastest ways to run {self.kept.module}, kept in {self.folder}"]
        for shape in self.kept.shapes:
            way = shape.way if shape.units or shape.way in (AS_GIVEN, EQUAL_LAYER, FUSED) else f"{shape.way}, as given"
            timed = "" if shape.seconds is None else f", {1e3 * shape.seconds:.3g} ms when it was measured"
            timed += "" if shape.ratio is None else f", {shape.ratio:.2f} times the time as given"
            lines.append(f"  {_sizes(shape)}: {way}{timed}")
        others = "as given" if self._has_class else "refused, unless the module is given: as_given=module"
        return "\n".join([*lines, f"  other shapes, gradients and types: {others}"])


def _sizes(shape: KeptShape) -> str:
    return f"batch {shape.batch_size}, length {shape.seq_len}"


def _parts(state: Any) -> StateParts:
    if state is None:
        return ()
    return (state,) if isinstance(state, Tensor) else tuple(state)


def _whole_state(parts: Sequence[Tensor]) -> Any:
    return parts[0] if len(parts) == 1 else tuple(parts) or None


def _relative_error(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference in shares of the largest value; infinite for other shapes, NaN if it is NaN."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    return float((found - expected).abs().max()) / max(largest, 1e-30) if expected.numel() else 0.0

"""Whether live cases do the same work: their outputs, compared before the timing and after it."""

import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.harness import devices
from rnnbench.harness.live.live_cases import LiveCase, first_tensor, gpus, keep_values, tensors_in
from rnnbench.harness.live.loop import named
from rnnbench.harness.machine import global_state
from rnnbench.harness.turns.kept_results import known_share
from rnnbench.store.parity import IS_REFERENCE, Parity
from rnnbench.text import error_in_words
from rnnbench.workloads.parity import TOLERANCES, relative_error
from rnnbench.workloads.phases import TimedCall

SMALLER = (0.9, 1.0)  # values are multiplied by a number from this range, which keeps them in most domains


def outputs(cases: Mapping[str, LiveCase], reference: str) -> dict[str, Tensor]:
    """Return the first tensor of each case's result, all from the same state of the random generators.

    Dimensions are in the reference's order. Raises ValueError for a case that returns no tensor or writes into its
    input, and for outputs on several devices or on a device that can't be used. An error of a case has the case's name
    in front.
    """
    by_case = {}
    for name, case in cases.items():
        is_unrolled = isinstance(getattr(case.run, "cell", None), nn.Module)  # a cell, as a layer
        is_own = isinstance(case.run, nn.Module) and not isinstance(case.run, nn.RNNBase) and not is_unrolled
        hint = f"; if {type(case.run).__name__} is a cell (one step of a sequence), measure rnnbench.unroll(cell)"
        inputs = list(tensors_in(case.args))
        with ExitStack() as put_back, torch.no_grad(), torch.random.fork_rng(gpus()):
            for tensor in inputs:
                keep_values(tensor, put_back)
            # torch counts no changes of tensors of inference mode.
            before = [(tensor, tensor._version) for tensor in inputs if not tensor.is_inference()]
            with named(name, hint if is_own else ""):
                output = first_tensor(case.run(*case.args))
                if output is None:
                    raise ValueError("returns no tensor; expected a tensor, or a tuple with the output first")
                by_case[name] = output.clone()  # at once: work that is left to a thread comes too late
                if any(tensor._version != version for tensor, version in before):
                    raise ValueError("changes its input in place, but later calls reuse it; work on a copy")
    names = sorted({str(output.device) for output in by_case.values()})
    if reason := "put all modules and inputs on one" if len(names) > 1 else devices.why_not(*names):
        raise ValueError(f"outputs are on {' and '.join(names)}: {reason}")
    return {name: _in_order_of(by_case[reference], output, cases[name]) for name, output in by_case.items()}


def _in_order_of(expected: Tensor, output: Tensor, case: LiveCase) -> Tensor:
    """Return the output of a case with its first two dimensions in the order of the reference's output.

    With as many steps as sequences, a turned case may have turned its output back: then the nearer one is taken.
    """
    input = case.input
    if not case.is_turned or output.dim() < input.dim() or output.shape[:2] != input.shape[:2]:
        return output
    turned = output.transpose(0, 1)
    if output.shape == expected.shape and relative_error(output, expected) < relative_error(turned, expected):
        return output
    return turned


def parity(by_case: Mapping[str, Tensor], reference: str) -> dict[str, Parity]:
    """Compare each output with that of the reference; raises ValueError if shapes differ."""
    expected = by_case[reference]
    for name, output in by_case.items():
        if output.shape != expected.shape:
            raise ValueError(
                f"{name} gives an output of shape {tuple(output.shape)}, and {reference} of {tuple(expected.shape)}: "
                "they do not do the same work, or `batch_first` is not set alike"
            )
    if unsound := _not_finite(expected):
        beside = Parity("beside unsound", why=reference)
        return dict.fromkeys(by_case, beside) | {reference: Parity("reference", unsound=unsound)}
    return {name: _compared(output, expected) for name, output in by_case.items()} | {reference: IS_REFERENCE}


def _compared(output: Tensor, expected: Tensor) -> Parity:
    """Compare an output with the expected one, which has the same shape."""
    if unsound := _not_finite(output):
        return Parity("unsound", unsound=unsound)
    output_type = str(output.dtype).removeprefix("torch.")
    expected_type = str(expected.dtype).removeprefix("torch.")
    types = None if output_type == expected_type else (output_type, expected_type)
    error = relative_error(output, expected)
    tolerances = dict[Any, float](TOLERANCES)
    rounded = (rounded_to(tensor.dtype.to_real(), str(tensor.device)) for tensor in (output, expected))
    if error <= max(tolerances.get(dtype, 0.0) for dtype in rounded):  # 0 for whole numbers
        return Parity("agrees", types=types)
    return Parity("differs", size=error, types=types)


def _not_finite(output: Tensor) -> tuple[int, int] | None:
    """Count the values that are NaN or infinite, and all values; returns None if all are finite."""
    count = int((~torch.isfinite(output)).sum())
    return (count, output.numel()) if count else None


def rounded_to(dtype: torch.dtype, device: str) -> str:
    """Return the type to which products on a device may round: tf32 for float32 where torch's settings allow it."""
    is_tf32 = dtype == torch.float32 and "tf32" not in devices.backend(device).lacks
    return "tf32" if is_tf32 and any(global_state.tf32_allowed()) else str(dtype).removeprefix("torch.")


def uneven(dtype: torch.dtype, device: str) -> str:
    """Say why one case's arithmetic is less precise than another's; empty if no case's is."""
    layers, products = global_state.tf32_allowed()
    if rounded_to(dtype, device) != "tf32" or layers == products:
        return ""
    coarse, fine = ("cuDNN's layers", "matmuls") if layers else ("matmuls", "cuDNN's layers")
    return (
        f"{coarse} may use TF32 and {fine} may not: set torch.backends.cudnn.allow_tf32 and "
        "torch.set_float32_matmul_precision alike for equal precision."
    )


def compared_again(
    cases: Mapping[str, LiveCase],
    calls: Mapping[str, TimedCall],
    reference: str,
    before: Mapping[str, Parity],
    device: devices.Device,
) -> tuple[dict[str, Parity], list[str]]:
    """Return the parity of each case after timing, and notes on why it could not be checked.

    `before`: the parity before timing, which stays if it still holds. The inputs get new values in place: the old ones,
    each tensor's rolled by one place, so that they stay in their domain. Cases with inputs of their own keep them,
    since a layout of another order would roll otherwise.
    """
    compared = dict(before)
    first, *others = [list(tensors_in(case.args)) for case in cases.values()]
    is_shared = all(list(map(id, other)) == list(map(id, first)) for other in others)
    try:
        with ExitStack() as put_back:
            for tensor in first if is_shared else ():
                # Not one that is expanded, whose values share memory.
                if tensor.is_floating_point() and 0 not in tensor.stride() and not tensor.is_inference():
                    tensor.data.copy_(keep_values(tensor, put_back).roll(1))
            for name, after in parity(outputs(cases, reference), reference).items():
                if after.kind != before[name].kind:
                    compared[name] = replace(after, is_late=True)
        notes = []
        for name, share in _kept_results(cases, calls, device).items():
            if compared[name].is_equal_work:
                compared[name] = Parity("cached", size=share)
            else:
                notes.append(f"{name} takes {share:.0%} of its time when the same values come again.")
    except Exception as error:  # nothing is wrong with the times: a module may not take other values
        return compared, [f"Outputs could not be compared again after timing: {error_in_words(error)}."]
    return compared, notes


def _kept_results(
    cases: Mapping[str, LiveCase], calls: Mapping[str, TimedCall], device: devices.Device
) -> dict[str, float]:
    """Return the cases that keep results by the values of their input: the time of known values over that of new ones.

    What an exception says is left to the caller.
    """
    shares = {}
    for name, case in cases.items():
        with ExitStack() as put_back, calls[name].mode():
            calls[name].restart()
            share = known_share(device, calls[name].call, _renewal(case, put_back))
        if share is not None:
            shares[name] = share
    return shares


def _renewal(case: LiveCase, put_back: ExitStack) -> Callable[[str], None]:
    """Return what gives the inputs of a case new values: its own, moved and, if they are floats, a little smaller.

    The inputs have their own values again when `put_back` closes.
    """
    own_values = []
    for tensor in tensors_in(case.args):
        has_values = tensor.is_floating_point() or tensor is case.input  # other whole numbers may be lengths
        if has_values and 0 not in tensor.stride() and not tensor.is_inference():
            own_values.append((tensor, keep_values(tensor, put_back).flatten()))

    def renew(seed: str) -> None:
        draw = random.Random(seed)
        for tensor, values in own_values:
            moved = values.roll(draw.randrange(tensor.numel() or 1))
            scale = draw.uniform(*SMALLER) if tensor.is_floating_point() else 1
            tensor.data.copy_((moved * scale).view_as(tensor))

    return renew

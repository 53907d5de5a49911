"""Call each arm once before timing starts, and compare its output with that of the reference."""

from collections.abc import Mapping

import torch
from torch import Tensor

from rnnbench.cells.parity import TOLERANCES
from rnnbench.harness import devices
from rnnbench.harness.live.arms import Arm, tensors_in
from rnnbench.harness.live.put_back import Kept, gpus
from rnnbench.harness.live.rounds import named
from rnnbench.harness.machine.torch_state import TorchState, capture, tf32_allowed

ONLY_TIMES = "times only"


def outputs(arms: Mapping[str, Arm]) -> dict[str, Tensor]:
    """The first tensor that each arm returns, all from the same state of the random generators.

    Raises ValueError for an arm that returns no tensor or writes into its input, and for outputs on several devices or
    on a device that can't be used. An error of an arm has the arm's name in front.
    """
    by_arm = {name: _output(arm) for name, arm in arms.items()}
    output_devices = {name: str(output.device) for name, output in by_arm.items()}
    if len(set(output_devices.values())) > 1:
        listed = ", ".join(f"{name}'s on {device}" for name, device in output_devices.items())
        raise ValueError(f"outputs are on several devices: {listed}; put all modules and inputs on one")
    if reason := devices.why_not(next(iter(output_devices.values()))):
        raise ValueError(f"inputs: {reason}")
    return by_arm


def parity(found: Mapping[str, Tensor], reference: str) -> dict[str, str]:
    """Whether the output of each arm agrees with that of the reference; raises ValueError if shapes differ."""
    expected = found[reference]
    for name, output in found.items():
        if output.shape != expected.shape:
            is_turned = output.dim() > 1 and output.transpose(0, 1).shape == expected.shape
            hint = "is `batch_first` set alike?" if is_turned else "they do not do the same work"
            raise ValueError(
                f"{name} gives an output of shape {tuple(output.shape)}, and {reference} of {tuple(expected.shape)}: "
                f"{hint}"
            )
    is_sound = not _not_finite(expected)
    compared = {name: compared_outputs(output, expected) for name, output in found.items()}
    if not is_sound:
        compared = dict.fromkeys(found, f"not compared, as {reference}'s output is not finite: {ONLY_TIMES}")
    return compared | {reference: "is the reference" + ("" if is_sound else f", {_not_finite(expected)}")}


def first_tensor(output: object) -> Tensor | None:
    """The tensor that is compared and that backward starts from: the output of torch.nn's layers, not their state."""
    if isinstance(output, tuple) and output and isinstance(output[0], Tensor):  # by far the most common
        return output[0]
    return next(tensors_in(output), None)


def uneven(dtype: torch.dtype, device: str, settings: TorchState) -> str:
    """Why one arm's arithmetic is less precise than another's, as a sentence; empty if no arm's is."""
    layers, products = tf32_allowed(settings)
    if (
        dtype != torch.float32
        or devices.backend(device).lacks("tf32")
        or None in (layers, products)
        or layers == products
    ):
        return ""
    coarse, fine = ("cuDNN's layers", "matrix products") if layers else ("matrix products", "cuDNN's layers")
    return (
        f"{coarse} may use TF32 and {fine} may not: set torch.backends.cudnn.allow_tf32 and "
        "torch.set_float32_matmul_precision alike for arms of equal precision."
    )


def _output(arm: Arm) -> Tensor:
    snapshots = [Kept.of(tensor) for tensor in tensors_in(arm.args)]
    try:
        with named(arm.name), torch.no_grad(), torch.random.fork_rng(gpus()):
            output = first_tensor(arm.run(*arm.args))
            if output is None:
                raise ValueError("returns no tensor; expected a tensor, or a tuple with the output first")
            output = output.clone()  # at once: work that is left to a thread comes too late
            if any(snapshot.is_changed for snapshot in snapshots):
                raise ValueError("changes its input in place, but later calls reuse it; work on a copy")
    finally:
        for snapshot in snapshots:
            if snapshot.is_changed:
                snapshot.put_back()
    return output


def compared_outputs(output: Tensor, expected: Tensor) -> str:
    """`agrees`, or by how much an output differs from the expected one of the same shape."""
    if not_finite := _not_finite(output):
        return f"{not_finite}: {ONLY_TIMES}"
    types = [str(tensor.dtype).removeprefix("torch.") for tensor in (output, expected)]
    apart = "" if types[0] == types[1] else f" ({types[0]} against {types[1]})"
    error = output_error(output, expected)
    if error <= max(_tolerance(output), _tolerance(expected)):
        return f"agrees{apart}"
    return f"differs by {error:.1e} of the largest value{apart}: {ONLY_TIMES}"


def _not_finite(output: Tensor) -> str:
    count = int((~torch.isfinite(output)).sum())
    return f"{count} of {output.numel()} values are NaN or infinite" if count else ""


def _tolerance(output: Tensor) -> float:
    """The tolerance of the parity check; 0 for integers. torch's settings may allow TF32 for float32 outputs."""
    is_tf32 = output.dtype == torch.float32 and not devices.backend(str(output.device)).lacks("tf32")
    if is_tf32 and tf32_allowed(capture()) != (False, False):
        return TOLERANCES["tf32"]
    dtype = output.dtype.to_real() if output.is_complex() else output.dtype
    tolerances: dict[str, float] = {str(name): tolerance for name, tolerance in TOLERANCES.items()}
    return tolerances.get(str(dtype).removeprefix("torch."), 0.0)


def output_error(output: Tensor, expected: Tensor) -> float:
    """The largest absolute difference of two tensors of equal shape, as a share of the largest expected value."""
    if not expected.numel():
        return 0.0
    wide = torch.complex128 if expected.is_complex() or output.is_complex() else torch.float64
    output, expected = output.to(wide), expected.to(wide)
    scale = expected.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return float((output - expected).abs().max() / scale)

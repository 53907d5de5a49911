"""Why the outputs of two modules differ, where that can be found out: an order of dimensions, or rounding."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.cells.precision import in_precision
from rnnbench.harness.live.arms import Arm
from rnnbench.harness.live.outputs import compared_outputs, first_tensor, output_error

SATURATED = 0.99  # of a tanh: nearly its end, where its slope is 2%
MANY = 0.1  # share of values
MAX_SHARE = 10  # a difference that rounding explains is at most so many times the reference's own error of rounding
DIFFERS = "differs by "
IN_FLOAT64 = "agrees in float64"  # begins the parity of an arm that differs by its rounding alone


def with_causes(
    parity: Mapping[str, str], arms: Mapping[str, Arm], found: Mapping[str, Tensor], reference: str
) -> dict[str, str]:
    """The parity of each arm, with the cause of a difference.

    Where copies in float64 agree, and the reference's own error of rounding is of the same size, so do the modules.
    """
    expected = found[reference]
    return {
        name: _with_cause(text, arms[name], found[name], arms[reference], expected)
        if text.startswith(DIFFERS)
        else text
        for name, text in parity.items()
    }


def _with_cause(text: str, arm: Arm, output: Tensor, reference: Arm, expected: Tensor) -> str:
    if _is_turned(output, expected):
        return f"{text}; with its first two dimensions in the other order it agrees: is `batch_first` set alike?"
    if not (_is_coarse(output) and _is_coarse(expected)):
        return text
    first, second = _in_float64(arm), _in_float64(reference)
    if first is None or second is None or not compared_outputs(first, second).startswith("agrees"):
        return text
    if output_error(output, expected) > MAX_SHARE * output_error(expected, second):
        return text  # the reference rounds far less: this is coarser work
    size = text.removeprefix(DIFFERS).partition(" of the largest value")[0]
    kind = str(output.dtype).removeprefix("torch.")
    return f"{IN_FLOAT64}; rounding in {kind} makes {size} of the largest value, {_why(expected)}"


def _is_turned(output: Tensor, expected: Tensor) -> bool:
    """Whether the output agrees once its first two dimensions, of equal size, change places."""
    is_square = output.dim() > 2 and output.shape[0] == output.shape[1]
    return is_square and compared_outputs(output.transpose(0, 1), expected).startswith("agrees")


def _is_coarse(output: Tensor) -> bool:
    return output.is_floating_point() and output.dtype != torch.float64


def _why(expected: Tensor) -> str:
    if float((expected.abs() > SATURATED).double().mean()) > MANY:
        return "since large weights saturate the state and each step makes errors larger"
    return "since each step makes errors larger"


def _in_float64(arm: Arm) -> Tensor | None:
    """The output of a copy of the module in float64; None if there is none, or if it is of another type."""
    if not isinstance(arm.run, nn.Module):
        return None
    try:
        module = deepcopy(arm.run).double()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = first_tensor(module(*(_double(argument) for argument in arm.args)))
    except Exception:  # whatever a stranger's module raises in another type: then nothing is known
        return None
    return output if output is not None and output.dtype == torch.float64 else None


def _double(value: Any) -> Any:
    """All tensors of floating point in nested tuples and lists in float64."""
    if isinstance(value, Tensor):
        return in_precision(value.detach(), torch.float64)
    if type(value) in (tuple, list):
        return type(value)(map(_double, value))
    return value

"""After the last round, the arms' outputs are compared again, on values that no arm has seen."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from rnnbench.harness.live.arms import Arm, tensors_in
from rnnbench.harness.live.outputs import ONLY_TIMES, first_tensor, outputs, parity
from rnnbench.harness.live.parity_causes import IN_FLOAT64, with_causes
from rnnbench.harness.live.put_back import Kept
from rnnbench.text import error_in_words
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.probes.calls import operator_calls
from rnnbench.workloads.referee.again import kept_results


def compared_again(
    arms: Mapping[str, Arm], calls: Mapping[str, TimedCall], reference: str, before: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """The parity of each arm after timing, and a sentence on why it could not be checked, empty if it was.

    `before`: the parity before timing, which stays if it still holds.
    """
    compared = dict(before)
    try:
        with new_values(arms) as renew:
            renew(1)
            by_arm = outputs(arms)
            found = parity(by_arm, reference)
            # A copy in float64 keeps no results of earlier calls, so that of a cheat agrees: it clears no arm that
            # agreed without it before.
            rounded = {name: after for name, after in found.items() if before[name].startswith(IN_FLOAT64)}
            for name, after in (found | with_causes(rounded, arms, by_arm, reference)).items():
                if _kind(after) != _kind(before[name]):
                    compared[name] = f"after timing: {after}"
            for name, arm in arms.items():
                if fault := kept_results(partial(_operators, arm, calls[name]), lambda number: renew(2 + number)):
                    compared[name] = f"{fault}: {ONLY_TIMES}"
    except Exception as error:  # nothing is wrong with the times: an arm may not take other values
        fault = error_in_words(error)
        return compared, f"Outputs could not be compared again after timing: {fault}."
    return compared, ""


def _kind(text: str) -> str:
    """What a parity says, without its numbers."""
    return text.partition(" ")[0] if text.startswith(("agrees", "differs")) else text


def _operators(arm: Arm, call: TimedCall) -> int:
    return operator_calls(replace(call, call=lambda: first_tensor(arm.run(*arm.args))))


@contextmanager
def new_values(arms: Mapping[str, Arm]) -> Iterator[Callable[[int], None]]:
    """Yields a function that gives the arms' inputs new values in place; the old ones are put back at the end.

    The new values are the old ones, each tensor's rolled by a number of places: they stay in their domain. Arms with
    inputs of their own keep them, unless all have the same, since a layout of another order would roll otherwise.
    """
    own = [list(tensors_in(arm.args)) for arm in arms.values()]
    kept = [Kept.of(tensor) for tensor in _unique(own) if _can_roll(tensor)] if _alike(own) else []

    def renew(places: int) -> None:
        for known in kept:
            known.tensor.data.copy_(known.values.roll(places))

    try:
        yield renew
    finally:
        for known in kept:
            known.tensor.data.copy_(known.values)


def _alike(own: list[list[Tensor]]) -> bool:
    """Whether all arms have equal tensors in the same order."""
    return all(len(others) == len(own[0]) and all(map(_equal, others, own[0])) for others in own)


def _equal(one: Tensor, other: Tensor) -> bool:
    is_like = (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
    return one is other or (is_like and torch.equal(one, other))


def _unique(own: list[list[Tensor]]) -> list[Tensor]:
    return list({id(tensor): tensor for part in own for tensor in part}.values())


def _can_roll(tensor: Tensor) -> bool:
    """Whether any order of the values makes sense (lengths and indices stay) and they can be written in place."""
    is_expanded = any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.is_floating_point() and not is_expanded and not tensor.is_inference()

"""The forms in which a cell's step gives its output and its state: one row each, with the loop over the steps.

A step takes its state as the second argument, or each tensor of it by itself (`apart`). A loop passes the state on as
the step returned it, and makes no call that a hand-written loop would not make.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

Giving = Literal["state", "output, state", "output, *state", "*state, *more"]
Forward = Callable[..., Any]
Pick = Callable[[Any], Tensor]
Stepped = tuple[list[Tensor], Any]  # the outputs, and the final state
# The cell, its inputs, its first state, what picks the output of a state, whether the cell takes the state apart
Loop = Callable[[Forward, Sequence[Tensor], Any, Pick, bool], Stepped]


@dataclass(frozen=True)
class StepForm:
    """What a step returns: how it is split, and how steps follow each other."""

    split: Callable[[Any, Any], tuple[Any, Any]]  # the result, a state like the cell's -> output or None, and state
    loop: Loop
    has_output: bool  # beside the state


def _loop_of_state(forward: Forward, inputs: Sequence[Tensor], state: Any, pick: Pick, is_apart: bool) -> Stepped:
    outputs = []
    for input in inputs:
        state = forward(input, *state) if is_apart else forward(input, state)
        outputs.append(pick(state))
    return outputs, state


def _loop_of_pair(forward: Forward, inputs: Sequence[Tensor], state: Any, pick: Pick, is_apart: bool) -> Stepped:
    outputs = []
    for input in inputs:
        output, state = forward(input, *state) if is_apart else forward(input, state)
        outputs.append(output)
    return outputs, state


def _loop_of_parts(forward: Forward, inputs: Sequence[Tensor], state: Any, pick: Pick, is_apart: bool) -> Stepped:
    outputs = []
    for input in inputs:
        output, *parts = forward(input, *state) if is_apart else forward(input, state)
        state = tuple(parts)
        outputs.append(output)
    return outputs, state


def _loop_of_more(forward: Forward, inputs: Sequence[Tensor], state: Any, pick: Pick, is_apart: bool) -> Stepped:
    outputs = []
    size = len(state)
    for input in inputs:
        result = forward(input, *state) if is_apart else forward(input, state)
        state = tuple(result[:size])
        outputs.append(pick(state))
    return outputs, state


STEP_FORMS: dict[Giving, StepForm] = {
    "state": StepForm(lambda result, like: (None, result), _loop_of_state, has_output=False),
    "output, state": StepForm(lambda result, like: (result[0], result[1]), _loop_of_pair, has_output=True),
    "output, *state": StepForm(lambda result, like: (result[0], tuple(result[1:])), _loop_of_parts, has_output=True),
    "*state, *more": StepForm(lambda result, like: (None, tuple(result[: len(like)])), _loop_of_more, has_output=False),
}

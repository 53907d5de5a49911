"""What this processor can't run: kinds of layers in a precision, found out by trial.

oneDNN and torch's own kernels refuse some layers in bfloat16 or float16 on a processor that has no instructions for
them. Their message names neither the layer's precision nor the processor. Flags of a processor do not tell which layers
these are, since libraries have code for some that lack the instructions: so tiny layers are called, once in a process.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import product
from typing import Any, Literal, get_args

import torch
from torch import nn

from rnnbench.text import first_few, first_line, listed, message_of
from rnnbench.workloads.implementations import Skip

Layer = Literal["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell", "Linear", "Conv2d"]
LayerPrecision = Literal["bfloat16", "float16", "autocast to bfloat16", "autocast to float16"]
LayerTrial = tuple[Layer, LayerPrecision, bool]  # the last: in training

DIMENSIONS: dict[Layer, int] = {"RNN": 3, "LSTM": 3, "GRU": 3, "Conv2d": 4}  # of an input; 2 for other layers
TRIAL_SIZE = 3  # of each dimension
AUTOCAST_WORDS = "autocast to "
MAX_NAMED_LAYERS = 3  # layers in a reason


class CannotRun(Skip, RuntimeError):
    """This processor can't run a layer in the precision in which it is called; the message says which."""

    module = ""  # the name of the live module that was called; empty if it has none
    reason = ""  # the message without that name


@contextmanager
def in_plain_words() -> Iterator[None]:
    """Raise CannotRun in place of an error that comes from what this processor can't run."""
    try:
        yield
    except CannotRun:
        raise
    except Exception as error:
        if reason := why_unable(error):
            raise CannotRun(reason) from error
        raise


def why_unable(error: BaseException) -> str:
    """Say what this processor can't run, if an error or one of its causes is the error of such a layer; else empty.

    The reason names the layers and precisions whose trials end with the same message.
    """
    trials: list[LayerTrial] = list(product(get_args(Layer), get_args(LayerPrecision), (False, True)))
    for message in _messages(error):
        failing = [trial for trial in trials if (reason := why_not(*trial)) and reason in message]
        if failing:
            return _in_words(failing, why_not(*failing[0]))
    return ""


def _messages(error: BaseException | None) -> Iterator[str]:
    """Yield the messages of an error and of its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield message_of(error)
        error = error.__cause__ or error.__context__


def _in_words(failing: list[LayerTrial], message: str) -> str:
    """Return the reason: the layers and precisions of the trials that failed with this message."""
    if torch.is_autocast_enabled("cpu"):
        now = AUTOCAST_WORDS + str(torch.get_autocast_dtype("cpu")).removeprefix("torch.")
        failing = [trial for trial in failing if trial[1] == now] or failing
    layers = dict.fromkeys(f"torch.nn.{layer}" for layer, _, _ in failing)
    precisions = dict.fromkeys(
        f"{'under' if precision.startswith(AUTOCAST_WORDS) else 'in'} {precision}" for _, precision, _ in failing
    )
    phase = " in training" if all(is_training for *_, is_training in failing) else ""
    return (
        f"this processor can't run {first_few([*layers], MAX_NAMED_LAYERS)} {listed([*precisions])}{phase} ({message})"
    )


@cache
def why_not(layer: Layer, precision: LayerPrecision, is_training: bool) -> str:
    """Return the error of a tiny layer of torch.nn in a precision on this processor; empty if it runs.

    It is tried once in a process: forward, and backward in training. Nothing of the process is changed.
    """
    with (
        warnings.catch_warnings(),
        torch.random.fork_rng(devices=[]),
        torch.device("cpu"),
        torch.inference_mode(mode=False),
        torch.set_grad_enabled(is_training),
    ):
        warnings.simplefilter("ignore")
        try:
            _try(layer, precision)
        except Exception as error:  # whatever the library raises
            return first_line(error).partition(". ")[0]  # behind it oneDNN tells how to see more
    return ""


def _try(layer: Layer, precision: LayerPrecision) -> None:
    """Call a layer, and its backward where gradients are enabled; raises what the library raises."""
    is_cast = precision.startswith(AUTOCAST_WORDS)
    computed = getattr(torch, precision.removeprefix(AUTOCAST_WORDS))
    stored = torch.float32 if is_cast else computed
    sizes = (TRIAL_SIZE, TRIAL_SIZE, TRIAL_SIZE) if layer == "Conv2d" else (TRIAL_SIZE, TRIAL_SIZE)
    module: Any = getattr(nn, layer)(*sizes, dtype=stored)
    input = torch.ones([TRIAL_SIZE] * DIMENSIONS.get(layer, 2), dtype=stored)
    with torch.autocast("cpu", dtype=computed, enabled=is_cast):
        output = module(input)
    while isinstance(output, tuple):
        output = output[0]
    if torch.is_grad_enabled():
        output.float().sum().backward()

"""What the processor can't run is found out by trial, and every reason says it in plain words."""

import random
import warnings
from itertools import product
from typing import get_args

import pytest
import torch
from torch import nn

from rnnbench.workloads import processor
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.processor import CannotRun, Layer, LayerPrecision, in_plain_words, why_not, why_unable
from tests.doubles.unable import REASON, Cast, unable_dtype

INPUT = torch.ones(3, 2, 3)
MESSAGE = "could not create a primitive descriptor for the LSTM forward propagation primitive"


@pytest.fixture
def old_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that runs no LSTM in bfloat16, and no Linear in float16 in training."""
    failing = {
        ("LSTM", "autocast to bfloat16", False): MESSAGE,
        ("LSTM", "autocast to bfloat16", True): MESSAGE,
        ("LSTM", "bfloat16", True): MESSAGE,
        ("Linear", "float16", True): "no kernel for Half",
    }
    monkeypatch.setattr(processor, "why_not", lambda *trial: failing.get(trial, ""))


@pytest.mark.usefixtures("old_processor")
def test_an_error_of_what_the_processor_can_not_run_names_layer_precision_and_phase() -> None:
    full = RuntimeError(f"{MESSAGE}. Run workload with environment variable ONEDNN_VERBOSE=all to get more.")
    expected = f"this processor can't run torch.nn.LSTM in bfloat16 and under autocast to bfloat16 ({MESSAGE})"
    assert why_unable(full) == expected
    with torch.autocast("cpu", torch.bfloat16):
        assert why_unable(full) == f"this processor can't run torch.nn.LSTM under autocast to bfloat16 ({MESSAGE})"
    other = RuntimeError("no kernel for Half")
    assert why_unable(other) == "this processor can't run torch.nn.Linear in float16 in training (no kernel for Half)"
    assert why_unable(RuntimeError("sizes do not match")) == ""


@pytest.mark.usefixtures("old_processor")
def test_the_cause_of_an_error_counts_and_circles_of_causes_end() -> None:
    outer, inner = ValueError("a cell that can't be called"), RuntimeError(MESSAGE)
    outer.__cause__, inner.__context__ = inner, outer
    assert why_unable(outer).endswith(f"({MESSAGE})")
    with pytest.raises(CannotRun) as raised, in_plain_words():
        raise outer
    assert isinstance(raised.value, Skip)
    assert raised.value.__cause__ is outer
    with pytest.raises(ValueError, match="other"), in_plain_words():
        raise ValueError("other")


def test_a_trial_is_made_once_and_changes_nothing_of_the_process() -> None:
    why_not.cache_clear()
    torch.manual_seed(7)
    before, python = torch.random.get_rng_state(), random.getstate()
    with warnings.catch_warnings(), torch.inference_mode(), torch.device("meta"):
        warnings.simplefilter("error")
        first = [why_not(*trial) for trial in product(get_args(Layer), get_args(LayerPrecision), (False, True))]
        assert torch.is_inference_mode_enabled()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert random.getstate() == python
    assert not torch.is_autocast_enabled("cpu")
    assert why_not.cache_info().misses == len(first)
    assert [why_not(*trial) for trial in product(get_args(Layer), get_args(LayerPrecision), (False, True))] == first
    assert why_not.cache_info().misses == len(first)


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("precision", get_args(LayerPrecision))
@pytest.mark.parametrize("layer", get_args(Layer))
def test_layers_whose_trial_ends_well_run_and_the_others_say_why(
    layer: Layer, precision: LayerPrecision, is_training: bool
) -> None:
    """Other sizes than those of the trial, so that it speaks for them."""
    cast = precision.startswith(processor.AUTOCAST_WORDS)
    computed = getattr(torch, precision.removeprefix(processor.AUTOCAST_WORDS))
    stored = torch.float32 if cast else computed
    module = getattr(nn, layer)(*((24, 40, 3) if layer == "Conv2d" else (24, 40)), dtype=stored)
    shape = {"RNN": (5, 6, 24), "LSTM": (5, 6, 24), "GRU": (5, 6, 24), "Conv2d": (6, 24, 9, 9)}.get(layer, (6, 24))

    def call() -> None:
        with torch.set_grad_enabled(is_training), torch.autocast("cpu", computed, enabled=cast):
            output = module(torch.ones(shape, dtype=stored))
        while isinstance(output, tuple):
            output = output[0]
        if is_training:
            output.float().sum().backward()

    if why_not(layer, precision, is_training):
        expected = rf"^this processor can't run torch\.nn\.{layer} .*{precision}"
        with pytest.raises(CannotRun, match=expected), in_plain_words():
            call()
    else:
        call()


def test_what_a_module_casts_by_itself_is_found_by_its_error() -> None:
    with pytest.raises(CannotRun) as raised, in_plain_words():
        Cast(3, 4)(INPUT)
    assert str(raised.value).startswith(REASON)
    assert str(unable_dtype()).removeprefix("torch.") in str(raised.value)

"""An operator that the reference does not have, in modules that are really timed."""

import pytest
import torch
from torch import nn

from rnnbench import explain
from rnnbench.profiling.gap import OPERATOR
from tests.validation.planted_causes import pair


@pytest.mark.alone
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("fused", [False, True])
def test_a_planted_operator_is_named_with_its_calls(fused: bool) -> None:
    modules: dict[str, nn.Module] = dict(pair("operator", 8, 16))
    if fused:
        modules["clean"] = nn.LSTM(8, 16)
    result = explain(modules, torch.randn(12, 2, 8), reference="clean", budget=10, progress=False)
    [step] = [step for step in result.gaps["faulty"].steps if step.what == "layer norm"]
    assert (step.kind, step.calls) == (OPERATOR, 12)
    assert "layer norm" in set(result.causes["label"])

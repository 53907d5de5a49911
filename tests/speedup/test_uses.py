"""A layer is used as people use layers, in each way that `fastest` may hand back, and gives what the layer gives."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from rnnbench.speedup.ways import WayName
from tests.speedup.test_ways import INPUT, LAYERS, fast

pytestmark = pytest.mark.usefixtures("one_thread", "not_compiled")
DIRECTION = torch.randn(7, 3, 6, generator=torch.Generator().manual_seed(1))


def gradients(layer: Any, input: Tensor = INPUT) -> list[Tensor]:
    layer.zero_grad()
    (layer(input)[0] * DIRECTION.to(input.dtype)).sum().backward()
    return [each.grad for each in layer.parameters() if each.grad is not None]


def checkpointed(layer: Any, *, use_reentrant: bool) -> list[Tensor]:
    layer.zero_grad()
    outputs = checkpoint(lambda input: layer(input)[0], INPUT.clone().requires_grad_(), use_reentrant=use_reentrant)
    (outputs * DIRECTION).sum().backward()
    return [each.grad for each in layer.parameters()]


def second_derivative(layer: Any) -> Any:
    return torch.autograd.functional.hvp(lambda input: layer(input)[0].square().sum(), INPUT, torch.ones_like(INPUT))


def twice(layer: Any) -> list[Tensor]:
    layer.zero_grad()
    for share in (1.0, 3.0):
        (share * layer(INPUT)[0] * DIRECTION).sum().backward()
    return [each.grad for each in layer.parameters()]


def frozen(layer: Any) -> list[Tensor]:
    layer.weight_ih_l0.requires_grad_(requires_grad=False)
    return gradients(layer)


def hooked(layer: Any) -> Any:
    layer.register_forward_hook(lambda module, given, result: (2 * result[0], result[1]))
    return layer(INPUT)


def pruned(layer: Any) -> list[Tensor]:
    prune.l1_unstructured(layer, "weight_hh_l0", amount=0.5)
    return gradients(layer)


def functional(layer: Any) -> Any:
    weights = {name: 2 * each.detach() for name, each in layer.named_parameters()}
    return torch.func.functional_call(layer, weights, (INPUT,))


USES: dict[str, Callable[[Any], Any]] = {
    "evaluation": lambda layer: layer.eval()(INPUT),
    "gradients": gradients,
    "accumulated gradients": twice,
    "checkpoint": lambda layer: checkpointed(layer, use_reentrant=False),
    "checkpoint with reentrance": lambda layer: checkpointed(layer, use_reentrant=True),
    "second derivative": second_derivative,
    "frozen weight": frozen,
    "hook": hooked,
    "pruning": pruned,
    "functional call": functional,
    "copy": lambda layer: gradients(copy.deepcopy(layer)),
    "pickle": lambda layer: gradients(pickle.loads(pickle.dumps(layer))),
    "state_dict": lambda layer: dict(layer.state_dict()),
    "double": lambda layer: gradients(layer.double(), INPUT.double()),
    "in a model": lambda layer: gradients(nn.ModuleList([layer])[0]),
}


@pytest.mark.parametrize("way", ["as given", "hoisted", "fused", "compiled"])
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_can_be_used_in_each_way_as_it_is(kind: Any, use: str, way: WayName) -> None:
    layer = kind(5, 6)
    expected = USES[use](copy.deepcopy(layer))
    torch.testing.assert_close(USES[use](fast(layer, way)), expected, rtol=1e-4, atol=1e-5)

from typing import Any

import torch
from torch import Tensor, nn

from rnnbench.harness.fastest.traits import is_alike, traits_of


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.scale = 1.5
        self.act = torch.tanh
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.linear(x) * self.scale)


def test_weights_and_mode_are_no_traits() -> None:
    module = Scaled()
    before = traits_of(module)
    module.linear.weight.data.mul_(2)
    module.linear.weight = nn.Parameter(torch.zeros(2, 2))
    module.linear = nn.Linear(2, 2)
    module.eval()
    module.scale = float("1.5")  # another object
    assert is_alike(before, traits_of(module))


def test_attributes_parts_and_code_are() -> None:
    changes: list[Any] = [
        lambda module: setattr(module, "scale", 2.0),
        lambda module: setattr(module, "act", torch.sigmoid),
        lambda module: module.kept.append(torch.ones(())),
        lambda module: setattr(module, "more", 1),
        lambda module: setattr(module, "forward", lambda x: x),
        lambda module: setattr(module, "linear", nn.Identity()),
        lambda module: setattr(module.linear, "in_features", 3),
        lambda module: setattr(module.linear, "bias", None),
        lambda module: module.register_buffer("factor", torch.ones(())),
        lambda module: setattr(module, "__class__", type("Other", (Scaled,), {"forward": lambda self, x: x})),
    ]
    for change in changes:
        module = Scaled()
        before = traits_of(module)
        change(module)
        assert not is_alike(before, traits_of(module))

"""Sequence modules with one fault each, and the same modules without it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

State = tuple[Tensor, Tensor]


class Clean(nn.Module):
    """An LSTM that projects its input once and makes one product a step."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        bound = hidden_size**-0.5
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size).uniform_(-bound, bound))

    def forward(self, input: Tensor) -> Tensor:
        """(seq, batch, input) -> (seq, batch, hidden)."""
        h = c = input.new_zeros(input.shape[1], self.weight_hh.shape[1])
        outputs = []
        for projected in self.project(input):
            h, c = self.step(projected, h, c)
            outputs.append(h)
        return torch.stack(outputs)

    def project(self, input: Tensor) -> tuple[Tensor, ...]:
        """The input's part of the gates, for all steps."""
        return linear(input, self.weight_ih, self.bias).unbind(0)

    def recurrent(self, h: Tensor) -> Tensor:
        """The state's part of one step."""
        return linear(h, self.weight_hh)

    def step(self, projected: Tensor, h: Tensor, c: Tensor) -> State:
        """One step."""
        i, f, g, o = (projected + self.recurrent(h)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class Copies(Clean):
    """Copies the weights in every step, in case something writes into them."""

    def recurrent(self, h: Tensor) -> Tensor:
        """The state's part of one step."""
        return linear(h, self.weight_hh.clone())


class ProjectsEachStep(Clean):
    """Makes the input product in every step."""

    def project(self, input: Tensor) -> tuple[Tensor, ...]:
        """One product in each step."""
        return tuple(linear(x, self.weight_ih, self.bias) for x in input.unbind(0))


class ReadsBack(Clean):
    """Waits for a value in every step, to check the weights."""

    def recurrent(self, h: Tensor) -> Tensor:
        """The state's part of one step."""
        if self.weight_ih.abs().max().item() > 1e30:
            raise ValueError("the weights explode")
        return linear(h, self.weight_hh)


class OneProduct(Clean):
    """Adds the gates one by one like `SmallProducts`, but with one product."""

    def step(self, projected: Tensor, h: Tensor, c: Tensor) -> State:
        """One step."""
        i, f, g, o = projected.chunk(4, dim=-1)
        h_i, h_f, h_g, h_o = linear(h, self.weight_hh).chunk(4, dim=-1)
        i, f = i + h_i, f + h_f
        g, o = g + h_g, o + h_o
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class GateWeights(Clean):
    """Has a weight for each gate."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.input, self.forget, self.candidate, self.out = (
            nn.Parameter(part.clone()) for part in self.weight_hh.detach().chunk(4)
        )


class JoinsWeights(GateWeights):
    """Puts the weights of the gates side by side in every step."""

    def recurrent(self, h: Tensor) -> Tensor:
        """The state's part of one step."""
        return linear(h, torch.cat([self.input, self.forget, self.candidate, self.out]))


class SmallProducts(GateWeights):
    """Makes four small products in a step instead of one."""

    def step(self, projected: Tensor, h: Tensor, c: Tensor) -> State:
        """One step."""
        i, f, g, o = projected.chunk(4, dim=-1)
        i, f = i + linear(h, self.input), f + linear(h, self.forget)
        g, o = g + linear(h, self.candidate), o + linear(h, self.out)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class Normalises(Clean):
    """Normalises the state's part in every step, with an operator that the module without it does not have."""

    def recurrent(self, h: Tensor) -> Tensor:
        """The state's part of one step."""
        part = linear(h, self.weight_hh)
        return layer_norm(part, part.shape[-1:])


# Work that can be left out without another result.
FAULTS: dict[str, Callable[[int, int], Clean]] = {
    "copy": Copies,
    "not hoisted": ProjectsEachStep,
    "synchronisation": ReadsBack,
    "small products": SmallProducts,
    "loop invariant": JoinsWeights,
}
PLANTED: dict[str, Callable[[int, int], Clean]] = {**FAULTS, "operator": Normalises}


def pair(kind: str, input_size: int, hidden_size: int) -> dict[str, Clean]:
    """A module with a fault and one without; `kind` names the fault's cause."""
    without = OneProduct if kind == "small products" else Clean
    clean, faulty = without(input_size, hidden_size), PLANTED[kind](input_size, hidden_size)
    faulty.load_state_dict(clean.state_dict(), strict=False)
    if isinstance(faulty, GateWeights):
        parts = (faulty.input, faulty.forget, faulty.candidate, faulty.out)
        for part, weight in zip(parts, clean.weight_hh.detach().chunk(4), strict=True):
            part.data.copy_(weight)
    return {"faulty": faulty, "clean": clean}

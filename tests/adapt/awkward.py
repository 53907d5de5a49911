"""Cells as strangers write them, none of which has the form that rnnbench's own have."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


class Tutorial(nn.Module):
    """The tutorial's class: three sizes, an output beside the state, and a state for one sequence."""

    def __init__(self, input_size: int, hidden_size: int, output_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.to_hidden = nn.Linear(input_size + hidden_size, hidden_size)
        self.to_output = nn.Linear(input_size + hidden_size, output_size)

    def forward(self, input: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat((input, hidden), 1)
        return torch.log_softmax(self.to_output(both), dim=1), torch.tanh(self.to_hidden(both))

    def init_hidden(self) -> Tensor:
        return torch.zeros(1, self.hidden_size)


class Base(nn.Module):
    """One product for each sum of input and state."""

    def __init__(self, input_size: int, hidden_size: int, width: int = 0) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.x = nn.Linear(input_size, hidden_size)
        self.h = nn.Linear(width or hidden_size, hidden_size)

    def new(self, input: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.x(input) + self.h(h))


class WithoutState(Base):
    """Takes no state in the first step."""

    def forward(self, input: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h = input.new_zeros(len(input), self.hidden_size) if state is None else state
        h = self.new(input, h)
        return h, h


class Apart(Base):
    """Takes and gives each part of its state by itself."""

    def forward(self, input: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        c = 0.5 * c + self.new(input, h)
        return torch.tanh(c), c

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(batch_size, self.hidden_size), torch.ones(batch_size, self.hidden_size)


class Named(Base):
    """Keeps two tensors of equal shapes in a dictionary, whose order each step reverses, and gives an output beside."""

    def forward(self, input: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        h = self.new(input, state["h"])
        state = {"h": h, "c": state["c"] + h}
        return 2 * state["c"], dict(reversed(state.items()))

    def init_state(self, batch_size: int) -> dict[str, Tensor]:
        return {name: torch.zeros(batch_size, self.hidden_size) for name in ("h", "c")}


class Complex(Base):
    """Keeps complex numbers, as linear recurrent units do, with complex parameters and a complex buffer."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.mix = nn.Parameter(torch.randn(hidden_size, hidden_size, dtype=torch.complex64) / hidden_size)
        self.register_buffer("poles", torch.polar(torch.full((hidden_size,), 0.9), torch.linspace(0, 3, hidden_size)))

    def forward(self, input: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        poles: Tensor = self.poles  # type: ignore[assignment]
        state = poles * state + self.x(input)
        return (state @ self.mix).real, state

    def init_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, self.hidden_size, dtype=torch.complex64)


@dataclass
class Memory:
    """A matrix beside a vector."""

    matrix: Tensor
    h: Tensor


class Matrix(Base):
    """Keeps a dataclass with a matrix for each sequence, and shows its second tensor."""

    def forward(self, input: Tensor, state: Memory) -> Memory:
        h = self.new(input, state.h) + torch.einsum("bij,bj->bi", state.matrix, state.h)
        return Memory(0.9 * state.matrix + 0.1 * h[:, :, None] * h[:, None, :], torch.tanh(h))

    def initial_state(self, batch_size: int) -> Memory:
        size = self.hidden_size
        return Memory(torch.zeros(batch_size, size, size), torch.zeros(batch_size, size))


class Sized(Base):
    """Says how large its state is, which is not its hidden size."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, width=2 * hidden_size)
        self.state_size = 2 * hidden_size
        self.out = nn.Linear(hidden_size, hidden_size + 1)

    def forward(self, input: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h = self.new(input, state)
        return self.out(h), torch.cat((h, state[:, : self.hidden_size]), dim=1)


class Units(nn.Module):
    """Says its size under a name of its own, which no parameter has."""

    def __init__(self, n_in: int, n_units: int) -> None:
        super().__init__()
        self.n_units = n_units
        self.gates = nn.Linear(n_in + n_units, 4 * n_units)

    def forward(self, x: Tensor, carried: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = carried
        i, f, g, o = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, (h, c)


class Four(Base):
    """Keeps a list of four tensors."""

    def forward(self, input: Tensor, state: list[Tensor] | None = None) -> list[Tensor]:
        state = state or [input.new_zeros(len(input), self.hidden_size)] * 4
        h = self.new(input, sum(state[1:], start=state[0]) / 4)
        return [h, *state[:3]]


class Other(Base):
    """Names its sizes in another order, and needs one more."""

    def __init__(self, units: int, in_features: int, *, theta: int, norm: bool = False) -> None:
        super().__init__(in_features, units)
        self.theta, self.norm = theta, norm

    def forward(self, input: Tensor, h: Tensor) -> Tensor:
        h = self.new(input, h) / self.theta
        return h / (1 + h.norm(dim=1, keepdim=True)) if self.norm else h


class TimeSpan(Base):
    """Takes a time span beside its state, and returns the same tensor twice, which looks like (h, c)."""

    def forward(self, input: Tensor, hx: Tensor, ts: Any) -> tuple[Tensor, ...]:
        h = self.new(input, hx) * ts
        return h, h


class Spanned(TimeSpan):
    """Has a value for the time span."""

    def forward(self, input: Tensor, hx: Tensor, ts: Any = 0.5) -> tuple[Tensor, ...]:
        return super().forward(input, hx, ts)


class Begins(TimeSpan):
    """Says that both are its state."""

    def init_state(self, batch: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(batch, self.hidden_size), torch.ones(batch, self.hidden_size)


class ReturnsBoth(TimeSpan):
    """Returns both as its state, beside an output."""

    def forward(self, input: Tensor, hx: Tensor, ts: Any) -> tuple[Tensor, ...]:
        h = self.new(input, hx) + ts
        return 2 * h, h, ts + 1


class KeepsSyn(Base):
    """A spiking cell: keeps the parts of its state that it is not given."""

    syn: Any = 0.0
    mem: Any = 0.0

    def forward(self, x: Tensor, syn: Tensor | None = None, mem: Tensor | None = None) -> tuple[Tensor, ...]:
        self.syn = 0.9 * (self.syn if syn is None else syn) + x
        self.mem = 0.8 * (self.mem if mem is None else mem) + self.syn
        return (self.mem > 1).float(), self.syn, self.mem


class Unused(Base):
    """Has a parameter that no gradient reaches."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, input: Tensor, h: Tensor) -> Tensor:
        return self.new(input, h)


class Failing(Base):
    """Can't make its first state."""

    def forward(self, input: Tensor, state: dict[str, Tensor]) -> Any:
        return self.new(input, state["h"]), state

    def init_hidden(self, batch_size: int) -> dict[str, Tensor]:
        raise RuntimeError(f"no room for {batch_size}")


class Picky(Base):
    """Does not take every size."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        raise ValueError(f"hidden_size {hidden_size} is not a power of two")


def built(input_size: int, hidden_size: int) -> nn.Module:
    """A function that builds a cell."""
    return Four(input_size, hidden_size)


class Grows(Base):
    """Keeps the rows of all steps."""

    def forward(self, input: Tensor, state: Tensor) -> Tensor:
        return torch.cat((state, self.new(input, state[-len(input) :])))


class GivesMore(Base):
    """Gives what it is asked to show behind its state."""

    def forward(self, input: Tensor, state: Any) -> tuple[Tensor, Tensor, Tensor]:
        h, c = state
        c = 0.5 * c + self.new(input, h)
        return torch.tanh(c), c, c.mean(1, keepdim=True)

    def init_hidden(self, bsz: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(bsz, self.hidden_size), torch.zeros(bsz, self.hidden_size)


class TwoInputs(Base):
    """Takes a second input before its state."""

    def forward(self, action: Tensor, latent: Tensor, hidden: Any) -> Any:
        h, c = hidden
        return self.new(action + latent, h), c


class NotBegun(Base):
    """Needs a call before its first step, which makes the state that it keeps."""

    previous_state: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return self.new(x, self.previous_state)


class KeepsItsOwn(Base):
    """Keeps its state in an attribute, and takes none."""

    state: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        state = input.new_zeros(len(input), self.hidden_size) if self.state is None else self.state
        self.state = new = self.new(input, state)
        return new


class GoesOn(Base):
    """Goes on from its last step where it gets no state, and begins with ones."""

    last: Any = 1.0

    def forward(self, input: Tensor, h: Tensor | None = None) -> Tensor:
        new = self.new(input, self.last + input.new_zeros(len(input), self.hidden_size) if h is None else h)
        self.last = new
        return new


class Recurrent(nn.Module):
    """Two recurrences of unlike sizes, the small one beside the large one."""

    SMALL = 4

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.small = nn.LSTMCell(input_size + hidden_size, self.SMALL)
        self.large = nn.LSTMCell(input_size + self.SMALL, hidden_size)

    def step(self, x: Tensor, h: Tensor, c: Tensor, h_hat: Tensor, c_hat: Tensor) -> tuple[Tensor, ...]:
        h_hat, c_hat = self.small(torch.cat((x, h), 1), (h_hat, c_hat))
        return *self.large(torch.cat((x, h_hat), 1), (h, c)), h_hat, c_hat


class FourArguments(Recurrent):
    """Takes each part of its state by itself."""

    def forward(self, x: Tensor, h: Tensor, c: Tensor, h_hat: Tensor, c_hat: Tensor) -> tuple[Tensor, ...]:
        return self.step(x, h, c, h_hat, c_hat)


class TwoPairs(Recurrent):
    """Takes a pair for each recurrence."""

    def forward(self, x: Tensor, state: Any, hyper_state: Any) -> tuple[Any, Any]:
        h, c, h_hat, c_hat = self.step(x, *state, *hyper_state)
        return (h, c), (h_hat, c_hat)


class OneTuple(Recurrent):
    """Takes all four as a tuple."""

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, ...]:
        return self.step(x, *state)


class FixedSizes(Base):
    """Takes arguments of sizes that no parameter has."""

    def forward(self, x: Tensor, h: Tensor, c: Tensor, mem: Tensor) -> tuple[Tensor, ...]:
        if mem.shape[1] != 7 * self.hidden_size + 3:
            raise ValueError("mem is too short")
        return self.new(x, h), c, mem


class FrameState(nn.Module):
    """Reads frames, and its state and output are frames."""

    def __init__(self, in_channels: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.gates = nn.Conv2d(in_channels + hidden_size, 2 * hidden_size, 3, padding=1)

    def forward(self, frame: Tensor, state: Any) -> tuple[Tensor, Tensor]:
        h, c = state
        gate, new = self.gates(torch.cat((frame, h), 1)).chunk(2, 1)
        c = gate.sigmoid() * c + new.tanh()
        return c.tanh(), c


class FrameStateBySize(FrameState):
    """Needs the size of a frame for its first state."""

    def init_hidden(self, batch_size: int, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        height, width = image_size
        h, c = (torch.zeros(batch_size, self.hidden_size, height, width) for _ in range(2))
        return h, c


class FrameStateByNumbers(FrameState):
    """Needs height and width for its first state, and a device."""

    def init_hidden(self, b: int, height: int, width: int, device: Any) -> tuple[Tensor, Tensor]:
        h, c = (torch.zeros(b, self.hidden_size, height, width, device=device) for _ in range(2))
        return h, c


class FramesFromInput(FrameState):
    """Makes its first state from the input, and gives its output beside the state."""

    def init_state(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, c = (x.new_zeros(len(x), self.hidden_size, *x.shape[2:]) for _ in range(2))
        return h, c

    def forward(self, frame: Tensor, state: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # type: ignore[override]
        h, c = super().forward(frame, state)
        return 2 * h, (h, c)


class Tree(Base):
    """Sums the states of all rows, its children."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.new(x, h.sum(0, keepdim=True))


class BatchStatistics(Base):
    """Subtracts the mean of the batch."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return self.new(x - x.mean(0), h)


class Normalised(Base):
    """Normalises over the batch in training alone."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.norm = nn.BatchNorm1d(hidden_size)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.norm(self.x(x)) + self.h(self.drop(h)))


class MixingLayer(nn.Module):
    """Runs whole sequences, each with the mean of all."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer = nn.GRU(input_size, hidden_size)

    def forward(self, x: Tensor, h: Tensor) -> Any:
        return self.layer(x + x.mean(1, keepdim=True), h)


class FromBuffer(Base):
    """Begins with a buffer where it gets no state, as light recurrent units in TorchScript do."""

    init_hidden: Tensor

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.register_buffer("init_hidden", torch.zeros(hidden_size))

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        if hidden is None:
            hidden = self.init_hidden
        return torch.lerp(hidden, torch.tanh(self.x(x)), torch.sigmoid(self.h(hidden)))


def scripted_from_buffer(input_size: int, hidden_size: int) -> Any:
    """The same in TorchScript."""
    return torch.jit.script(FromBuffer(input_size, hidden_size))


class Mixing(nn.Module):
    """Time mixing: a numerator, a denominator and a maximum that begins far below zero, none of which is the output."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.k, self.v = nn.Linear(input_size, hidden_size), nn.Linear(input_size, hidden_size)
        self.decay = nn.Parameter(torch.rand(hidden_size))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        k, v = self.k(x), self.v(x)
        above, below, most = (0 * k, 0 * k, 0 * k - 1e38) if state is None else state
        new = torch.maximum(most - self.decay, k)
        old, now = torch.exp(most - self.decay - new), torch.exp(k - new)
        above, below = old * above + now * v, old * below + now
        return above / below, (above, below, new)


def broken_script(input_size: int, hidden_size: int) -> Any:
    """A cell in TorchScript whose weights don't fit."""
    return torch.jit.script(Misfit(input_size, hidden_size))


class Unpacks(Base):
    """Reads four parts of a state, one of which is none that a trial finds."""

    def forward(self, x: Tensor, state: Any) -> Any:
        h, c, n, word = state
        return self.new(x, h), c, n, word.view(len(x), 7)


class Misfit(Base):
    """Its weights fit no state."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.x(x[:, 1:]) + self.h(h))


class Changing(Base):
    """Its state grows in every step."""

    def forward(self, input: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = input.new_zeros(len(input), self.hidden_size) if state is None else state
        return self.new(input, state[:, -self.hidden_size :]), torch.cat((state, state[:, :1]), dim=1)


def scripted(input_size: int, hidden_size: int) -> Any:
    """A cell in TorchScript."""
    return torch.jit.script(WithoutState(input_size, hidden_size))


def scripted_layer(input_size: int, hidden_size: int) -> Any:
    """A module for whole sequences in TorchScript."""
    return torch.jit.script(BatchFirst(input_size, hidden_size))


def not_a_module(input_size: int, hidden_size: int) -> int:
    """A function that builds no module."""
    return input_size + hidden_size


class BatchFirst(nn.Module):
    """Has the batch first, does not say so, and gives its outputs alone."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer = nn.GRU(input_size, hidden_size, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layer(x)[0]
        return outputs


class WithoutOwnState(nn.Module):
    """Gives a state of another form, which can't be given back."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer = nn.LSTM(input_size, hidden_size + 1)

    def forward(self, x: Tensor, mask: None = None) -> tuple[Tensor, dict[str, Tensor]]:
        outputs, (h, _) = self.layer(x)
        return outputs, {"h": h}


class Tokens(nn.Module):
    """Reads whole numbers."""

    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, hidden_size)
        self.cell = nn.GRUCell(hidden_size, hidden_size)

    def forward(self, token: Tensor, h: Tensor) -> Tensor:
        new: Tensor = self.cell(self.embedding(token), h)
        return new


class TokenLayer(nn.Module):
    """Reads sequences of whole numbers, the batch first, and has no state."""

    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, hidden_size)
        self.layer = nn.GRU(hidden_size, hidden_size, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        outputs: Tensor = self.layer(self.embedding(tokens))[0]
        return outputs


class Frames(nn.Module):
    """Reads small images, and keeps its state as one."""

    def __init__(self, in_channels: int, hidden_size: int) -> None:
        super().__init__()
        self.both = nn.Conv2d(2 * in_channels, in_channels, 3, padding=1)
        self.out = nn.Linear(in_channels, hidden_size)

    def forward(self, frame: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = torch.zeros_like(frame) if state is None else state
        state = torch.tanh(self.both(torch.cat((frame, state), 1)))
        return self.out(state.mean(dim=(2, 3))), state


class Stacked(nn.Module):
    """Keeps the states of its layers in one tensor, (layers, batch, hidden)."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 2) -> None:
        super().__init__()
        self.sizes = num_layers, hidden_size
        inputs = (input_size, *[hidden_size] * (num_layers - 1))
        self.cells = nn.ModuleList(nn.GRUCell(size, hidden_size) for size in inputs)

    def forward(self, input: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        new = []
        for cell, h in zip(self.cells, hidden, strict=True):
            input = cell(input, h)
            new.append(input)
        return input, torch.stack(new)

    def init_hidden(self, batch_size: int) -> Tensor:
        layers, hidden_size = self.sizes
        return torch.zeros(layers, batch_size, hidden_size)

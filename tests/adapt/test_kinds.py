"""What kind of module it is: found out on copies, and only where a plain call and the other ways do the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import rnnbench
from rnnbench.adapt.kinds import adapt_layer, run_module
from rnnbench.cells import CellError
from rnnbench.cells.states import copied, leaves
from rnnbench.store.records import Case
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.adapt import awkward
from tests.adapt.awkward import BatchFirst, WithoutOwnState
from tests.doubles import workload as small

pytestmark = pytest.mark.usefixtures("one_thread")
TAKE_APART = (awkward.Apart, awkward.Begins, awkward.ReturnsBoth, awkward.KeepsSyn)
INPUT = torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0))


class Stack(nn.Module):
    """A stack of layers that keeps one state for each; its output is the last."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.GRUCell(size, 8) for size in [5, *[8] * (layers - 1)])

    def forward(self, input: Tensor, states: Any) -> Any:
        new = []
        for layer, h in zip(self.layers, states, strict=False):
            input = layer(input, h)
            new.append(input)
        return tuple(new)


class InList(Stack):
    """Returns a list, and takes one."""

    def forward(self, input: Tensor, states: Any) -> Any:
        if not isinstance(states, list):
            raise TypeError("states are a list")
        return list(super().forward(input, states))


class Plain(awkward.Base):
    """An Elman cell as people write it; the classes below differ from it in one thing."""

    def __init__(self) -> None:
        super().__init__(5, 8)

    def forward(self, x: Tensor, h: Any) -> Any:
        return self.new(x, h)


class DropsOutput(Plain):
    """Its output is its state in evaluation alone."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.new(x, h)
        return self.drop(h), h


class Gain(Plain):
    """Its output equals its state until a gain of 1 is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.new(x, h)
        return h * self.gain, h


def by_hand(cell: Any, input: Tensor, state: Any) -> tuple[Tensor, Any]:
    """The outputs of a cell that is called step by step, and its last state; `state` stays as it is."""
    outputs, state = [], copied(state)
    for x in input:
        if isinstance(cell, TAKE_APART):
            output, *_ = result = cell(x, *state)
            state = result[-2:]
        else:
            result = cell(x, state)
            is_pair = not isinstance(result, Tensor | list) and not (isinstance(cell, Stack))
            output, state = result if is_pair else (result, result)
        outputs.append((output if isinstance(output, Tensor) else output[-1]).clone())
    return torch.stack(outputs), state


def run_alike(cell: Any, input: Tensor = INPUT) -> list[Any]:
    """Both modules that run a cell over a sequence."""
    return [rnnbench.unroll(cell), rnnbench.fastest(cell, input, ways=[])]


def test_an_output_that_only_equals_the_state_is_kept_apart() -> None:
    cell = Gain()
    with torch.no_grad():
        found = rnnbench.unroll(cell)
        found(INPUT)
        cell.gain.fill_(3.0)
        torch.testing.assert_close(found(INPUT)[0], by_hand(cell, INPUT, torch.zeros(3, 8))[0])


@pytest.mark.parametrize("is_training", [False, True])
def test_dropout_between_state_and_output_works_in_both_modes(is_training: bool) -> None:
    cell = DropsOutput().train(is_training)
    unrolled = rnnbench.unroll(cell)
    for mode in (is_training, not is_training, is_training):
        dropped = unrolled.train(mode)(INPUT)[0] == 0
        assert bool(dropped.any()) is mode


class LearnedDefault(Plain):
    """Begins with a parameter where no state is given."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.full((8,), value))

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        return self.new(x, self.first.expand(len(x), -1) if h is None else h)


class LearnedMethod(LearnedDefault):
    """Says what it begins with."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:  # type: ignore[override]
        return self.new(x, h)

    def init_state(self, batch: int) -> Tensor:
        return self.first.expand(batch, -1)


class Ones(Plain):
    """Begins with ones."""

    def init_hidden(self) -> Tensor:
        return torch.ones(1, 8)


class LeftOut(Plain):
    """Leaves the state's product out, with its bias, where no state is given."""

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        return torch.tanh(self.x(x)) if h is None else self.new(x, h)


BEGINNERS: list[Any] = [
    LearnedDefault,
    lambda: LearnedDefault(1.0),
    LeftOut,
    lambda: awkward.FromBuffer(5, 8),
    lambda: awkward.scripted_from_buffer(5, 8),
    lambda: awkward.Mixing(5, 5),
]


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("make", BEGINNERS)
def test_a_cell_that_does_not_begin_with_zeros_takes_its_first_step_without_a_state(
    make: Callable[[], nn.Module], steps: int
) -> None:
    cell, input = make(), INPUT[:steps]
    with torch.no_grad():
        for tensor in (*cell.parameters(), *cell.buffers()):
            tensor.add_(0.1)
        expected: list[Tensor] = []
        given: Any = ()
        for x in input:
            result = cell(x, *given)
            output, *given = result if isinstance(result, tuple) else (result, result)
            expected.append(output)
        for module in run_alike(cell, input):
            torch.testing.assert_close(module(input)[0], torch.stack(expected))
            torch.testing.assert_close(leaves(module(input)[1])[-1][0], leaves(given[0])[-1])


class HoistableBeginner(LearnedDefault):
    """Separates the product of the input, and begins with a parameter."""

    def project(self, x: Tensor) -> Tensor:
        projected: Tensor = self.x(x)
        return projected

    def advance(self, projected: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(projected + self.h(h))


def test_the_search_compares_and_times_a_cell_that_takes_its_first_step_without_a_state() -> None:
    cell = HoistableBeginner(1.0)
    fast = rnnbench.fastest(cell, INPUT, budget="2s", progress=False)
    assert dict(zip(fast.frame["way"], fast.frame["replicates"], strict=True))["hoisted"] > 0, fast.frame["reason"]
    for name in ("as given", "hoisted"):
        forced = rnnbench.fastest(cell, INPUT, ways=fast.frame.assign(is_chosen=fast.frame["way"] == name))
        torch.testing.assert_close(forced(INPUT)[0], rnnbench.unroll(cell)(INPUT)[0])


@pytest.mark.parametrize("make", BEGINNERS)
def test_a_given_state_is_that_of_the_first_step(make: Callable[[], nn.Module]) -> None:
    cell = make()
    if isinstance(cell, awkward.Mixing):
        pytest.skip("its state is no tensor")
    h = torch.rand(3, 8)
    for module in (rnnbench.unroll(cell), rnnbench.fastest(cell, (INPUT, h[None]), ways=[])):
        torch.testing.assert_close(module(INPUT, h[None])[1], by_hand(cell, INPUT, h)[1][None])


def test_a_cell_that_goes_on_from_its_last_call_needs_a_state() -> None:
    h = torch.rand(1, 3, 8)
    cell = awkward.GoesOn(5, 8)
    for module in run_alike(cell):
        assert module(INPUT, h)[0].shape == (7, 3, 8)
        with pytest.raises(ValueError, match="GoesOn keeps its own state, so a step without one goes on from the last"):
            module(INPUT)


@pytest.mark.parametrize("name", ["FrameState", "FrameStateBySize", "FrameStateByNumbers", "FramesFromInput"])
def test_frames_are_unrolled_with_features_as_outputs(name: str) -> None:
    cell, frames = getattr(awkward, name)(2, 6), torch.randn(5, 3, 2, 4, 3)
    state: Any = (torch.zeros(3, 6, 4, 3),) * 2
    expected = []
    for x in frames:
        result = cell(x, state)
        state = result[1] if isinstance(result[1], tuple) else result
        expected.append(result[0].flatten(1))
    outputs, final = rnnbench.unroll(cell)(frames)
    torch.testing.assert_close(outputs, torch.stack(expected))
    torch.testing.assert_close(final[-1][0], state[1])


def test_what_comes_behind_a_state_is_left_out() -> None:
    cell = awkward.GivesMore(5, 8)
    state = cell.init_hidden(3)
    expected = []
    for x in INPUT:
        state = cell(x, state)[:2]
        expected.append(state[0])
    for module in run_alike(cell):
        torch.testing.assert_close(module(INPUT)[0], torch.stack(expected))


@pytest.mark.parametrize("name", ["FourArguments", "TwoPairs", "OneTuple"])
@pytest.mark.parametrize("batch", [1, 4])
def test_sizes_of_several_state_arguments_are_found(name: str, batch: int) -> None:
    cell, input = getattr(awkward, name)(5, 8), torch.randn(7, batch, 5)
    parts = [torch.zeros(batch, size) for size in (8, 8, 4, 4)]
    expected = []
    for x in input:
        parts = list(cell.step(x, *parts))
        expected.append(parts[0])
    outputs, final = rnnbench.unroll(cell)(input)
    torch.testing.assert_close(outputs, torch.stack(expected))
    torch.testing.assert_close([part[0] for part in final], parts)


@pytest.mark.parametrize("name", ["Tree", "BatchStatistics"])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_cell_that_mixes_sequences_is_refused(name: str, batch: int) -> None:
    cell, input = getattr(awkward, name)(5, 8), torch.randn(7, batch, 5)
    for run in (lambda: rnnbench.unroll(cell)(input), lambda: rnnbench.fastest(cell, input, ways=[])):
        with pytest.raises(ValueError, match=f"{name} mixes the sequences of a batch"):
            run()


@pytest.mark.parametrize("is_training", [False, True])
def test_batch_normalisation_and_dropout_mix_in_training_alone_and_stay_as_they_are(is_training: bool) -> None:
    cell = awkward.Normalised(5, 8).train(is_training)
    before = {name: tensor.clone() for name, tensor in cell.state_dict().items()}
    rnnbench.fastest(cell, INPUT, ways=[])
    assert cell.norm.training is is_training
    assert all(torch.equal(before[name], tensor) for name, tensor in cell.state_dict().items())


@torch.inference_mode()
@pytest.mark.parametrize("make", [lambda: nn.GRUCell(5, 8), Plain, Gain])
def test_a_first_call_may_be_in_inference_mode(make: Callable[[], nn.Module]) -> None:
    cell, input = make(), INPUT.clone()
    outputs = [module(input)[0] for module in (rnnbench.unroll(cell), rnnbench.fastest(cell, input, ways=[]))]
    assert torch.equal(*outputs)
    assert torch.is_inference_mode_enabled()


class Stabilised(Plain):
    """Keeps a maximum that begins with minus infinity, nearly, beside its output, as time mixing does."""

    def init_state(self, batch: int) -> dict[str, Tensor]:
        return {"h": torch.zeros(batch, 8), "most": torch.full((batch, 8), -1e30)}

    def forward(self, x: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        most = torch.maximum(state["most"], self.x(x))
        return 2 * self.new(x, state["h"]) + most, {"h": self.new(x, state["h"]), "most": most}


def test_a_learned_first_state_is_that_of_each_call() -> None:
    cell = LearnedMethod()
    for module in run_alike(cell):
        torch.testing.assert_close(module(INPUT)[1], by_hand(cell, INPUT, cell.init_state(3))[1][None])
        (gradient,) = torch.autograd.grad(module(INPUT)[0].sum(), cell.first)
        assert gradient.abs().max() > 0
        with torch.no_grad():
            cell.first.add_(1)


def test_a_state_may_be_given_with_the_output_and_without() -> None:
    cell = Stabilised()
    expected, final = by_hand(cell, INPUT, cell.init_state(3))
    own = tuple(part[None] for part in cell.init_state(3).values())
    for state in (None, own, (torch.zeros(1, 3, 8), *own)):
        found = rnnbench.fastest(cell, INPUT if state is None else (INPUT, state), ways=[])
        for given in (None, own, (torch.zeros(1, 3, 8), *own)):
            outputs, (_, h, most) = found(INPUT, given)
            torch.testing.assert_close(outputs, expected)
            torch.testing.assert_close((h[0], most[0]), (final["h"], final["most"]))


class Counting(Plain):
    """Counts its steps in whole numbers, which look up an embedding, and remembers in a bool."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Embedding(16, 5)

    def init_state(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        return torch.zeros(batch, 8), torch.zeros(batch, dtype=torch.long), torch.zeros(batch, dtype=torch.bool)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h, step, has_ended = state
        h = torch.where(has_ended[:, None], h, self.new(x + self.position(step), h))
        return h, (h, step + 1, has_ended | (h[:, 0] > 0.5))


class WritesIntoState(Plain):
    """Updates its state in place."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return h.copy_(self.new(x, h))


class WritesIntoPart(WritesIntoState):
    """Updates its state in place, and gives an output beside it."""

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return 2 * h, h.copy_(self.new(x, h))


ZEROS = torch.zeros(3, 8)
BY_HAND: list[tuple[Callable[[], Any], Any]] = [
    (lambda: Stack(2), (ZEROS,) * 2),
    (lambda: Stack(3), (ZEROS,) * 3),
    (lambda: InList(3), [ZEROS] * 3),
    (Ones, torch.ones(3, 8)),
    (Plain, ZEROS),
    (lambda: nn.GRUCell(5, 8), ZEROS),
    (lambda: awkward.Named(5, 8), {"h": ZEROS, "c": ZEROS}),
    (lambda: awkward.Sized(5, 8), torch.zeros(3, 16)),
    (lambda: awkward.Units(5, 8), (ZEROS, ZEROS)),
    (lambda: awkward.Tutorial(5, 8, 3), ZEROS),
    (lambda: awkward.Spanned(5, 8), ZEROS),
    (lambda: awkward.Apart(5, 8), (ZEROS, ZEROS + 1)),
    (lambda: awkward.Begins(5, 8), (ZEROS, ZEROS + 1)),
    (lambda: awkward.ReturnsBoth(5, 8), (ZEROS, ZEROS)),
    (lambda: awkward.KeepsSyn(5, 5), (torch.zeros(3, 5), torch.zeros(3, 5))),
    (lambda: awkward.scripted(5, 8), ZEROS),
    (Counting, (ZEROS, torch.zeros(3, dtype=torch.long), torch.zeros(3, dtype=torch.bool))),
    (WritesIntoState, ZEROS),
    (WritesIntoPart, ZEROS),
]


@pytest.mark.parametrize(("make", "first"), BY_HAND)
def test_it_computes_over_a_sequence_what_it_does_step_by_step(make: Callable[[], Any], first: Any) -> None:
    cell = make().eval()
    before = {name: weight.clone() for name, weight in cell.named_parameters()}
    expected, _ = by_hand(cell, INPUT, first)
    for module in run_alike(cell):
        torch.testing.assert_close(module(INPUT)[0], expected)
    assert all(torch.equal(before[name], weight) for name, weight in cell.named_parameters())


class MyGRU(nn.GRU):
    """A subclass, which runs sequences."""


@pytest.mark.parametrize("layers", range(1, 7))
@pytest.mark.parametrize("batch", [3, 5])
def test_a_layer_that_takes_sequences_without_a_batch_is_no_cell(layers: int, batch: int) -> None:
    module, input = MyGRU(5, 6, num_layers=layers), torch.randn(7, batch, 5)
    assert run_module(module, input, None).kind == "sequence"
    assert run_module(Wrapper(module), input, None).kind == "sequence"


class Wrapper(nn.Module):
    """Hands on to a layer, and is no layer itself."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.hidden_size = 6

    def forward(self, input: Tensor, state: Tensor | None = None) -> Any:
        return self.layer(input, state)


class Halved(nn.Module):
    """A parametrization."""

    def forward(self, x: Tensor) -> Tensor:
        return x / 2


CHANGES: dict[str, Callable[[nn.Module, str], object]] = {
    "pruned": lambda module, name: prune.l1_unstructured(module, name, 0.5),
    "parametrized": lambda module, name: parametrize.register_parametrization(module, name, Halved()),
    "hooked": lambda module, name: module.register_forward_hook(lambda *_: None),
    "hooked before": lambda module, name: module.register_forward_pre_hook(lambda *_: None),
    "hooked after": lambda module, name: module.register_full_backward_hook(lambda *_: None),
}


@pytest.mark.parametrize("layers", [1, 2, 3, 7])
@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_a_state_of_layers_with_the_batch_second_is_passed_with_the_batch_first(layers: int, batch: int) -> None:
    cell, input = awkward.Stacked(5, 6, layers), torch.randn(4, batch, 5)
    expected, hidden = by_hand(cell, input, cell.init_hidden(batch))
    outputs, final = rnnbench.unroll(cell)(input)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close((final[-1] if isinstance(final, tuple) else final)[0], hidden.movedim(1, 0))


class Parallel(nn.Module):
    """Runs a whole sequence without a loop. It takes rows alone, too, and ignores the state, which it does not need."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_first = True
        self.gates = nn.Linear(5, 16)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        gate, new = self.gates(x).chunk(2, dim=-1)
        return torch.cumsum(gate.sigmoid() * new, dim=1)


def test_a_module_that_ignores_the_state_is_no_cell() -> None:
    module = Parallel()
    assert run_module(module, INPUT, None).kind == "sequence"
    input = INPUT.transpose(0, 1)
    torch.testing.assert_close(rnnbench.fastest(module, input, ways=[])(input), module(input))


# Modules for whole sequences run as they are, and agree with torch.nn's where they are its own

FOLDER = Path(awkward.__file__).parent


def case(name: str, **changes: Any) -> Case:
    return Case(name, "sequence", small.workload(**changes))


@pytest.mark.parametrize("task", ["many_to_many", "many_to_one"])
@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("reference", ["none", "gru"])
@pytest.mark.parametrize("name", ["BatchFirst", "WithoutOwnState", "scripted_layer"])
def test_a_module_for_whole_sequences_runs_as_it_is(name: str, reference: Any, phase: Any, task: Any) -> None:
    built = build(case(f"awkward.py:{name}", reference=reference, phase=phase, task=task), FOLDER)
    measurement = observe(built)
    why = "there is no reference" if reference == "none" else "it takes no state"
    assert str(measurement.parity) == f"not compared: {why}"


def test_the_order_is_found_by_trial_where_the_class_does_not_say_it() -> None:
    module, input, usual = BatchFirst(4, 6), torch.randn(3, 3, 4), torch.randn(1, 3, 6)
    expected = module(input.transpose(0, 1)).transpose(0, 1)
    found = adapt_layer(module, input, usual)
    assert found is not None
    assert (found[1].is_batch_first, found[1].takes_state) == (True, False)
    torch.testing.assert_close(module(input, usual)[0], expected)
    assert module(input, usual)[1] is usual
    other = adapt_layer(WithoutOwnState(4, 6), input, usual)
    assert other is not None
    assert (other[1].is_batch_first, other[1].width) == (False, 7)


@pytest.mark.parametrize(("task", "sizes"), [("one_to_many", {"output_size": 5}), ("streaming", {"seq_len": 1})])
def test_a_task_that_goes_on_from_a_state_needs_one(task: str, sizes: Any) -> None:
    with pytest.raises(Skip, match=f"{task} needs a first state, but BatchFirst takes none"):
        build(case("awkward.py:BatchFirst", reference="none", task=task, **sizes), FOLDER)


def test_a_state_of_another_shape_is_refused_with_the_shape_that_is_right() -> None:
    run = run_module(nn.GRU(5, 8), INPUT, None)
    state = torch.zeros(1, 3, 8)
    assert torch.equal(leaves(run.first_state(INPUT, state))[0], state)
    for given, found in ((torch.zeros(1, 2, 8), r"\(1, 2, 8\)"), ((), "none")):
        with pytest.raises(
            ValueError, match=rf"^state: expected \(1, 3, 8\) as \(layers, batch, ...\), found {found}$"
        ):
            run.first_state(INPUT, given)


class MixedLayer(nn.GRU):
    """A layer whose outputs depend on the other sequences of the batch."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:  # type: ignore[override]
        outputs, state = super().forward(input, hx)
        return outputs + outputs.mean(1, keepdim=True), state


def test_a_layer_that_mixes_sequences_is_refused() -> None:
    state = torch.zeros(1, 3, 8)
    assert adapt_layer(nn.GRU(5, 8), INPUT, state) is None
    with pytest.raises(CellError, match="mixes"):
        adapt_layer(MixedLayer(5, 8), INPUT, state)

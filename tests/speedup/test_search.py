"""`rnnbench.fastest` as a user calls it, and the choice of the fastest way, with times that the test sets."""

import math
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

import rnnbench
from rnnbench.adapt.kinds import RunModule
from rnnbench.cells.gru import GRUCell
from rnnbench.cells.lstm import LSTMCell
from rnnbench.harness.devices import Cpu
from rnnbench.harness.live.live_cases import timed_call
from rnnbench.harness.live.stops import Fastest
from rnnbench.harness.machine import global_state
from rnnbench.speedup import agreement, compiling, search, ways
from rnnbench.speedup.agreement import why_not
from rnnbench.speedup.equal_layer import equal_layer
from rnnbench.speedup.run_in_ways import RunInWays
from rnnbench.speedup.search import find_wanted, wanted
from rnnbench.speedup.ways import CallShape, possible_ways, way
from rnnbench.store.implementations import GRAPHED_GRADIENTS, Implementation
from rnnbench.store.records import Case
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import Skip
from tests.adapt.layers import BatchFirst
from tests.doubles import workload as small
from tests.doubles.fake_cudnn import FakeCudnn
from tests.doubles.stored import steady
from tests.doubles.unable import REASON, Cast, unable_dtype

pytestmark = pytest.mark.usefixtures("one_thread")


class FixedTurns:
    """Turns in which each way takes the seconds that a test sets."""

    seconds: ClassVar[dict[str, float]] = {}

    interrupted = False

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def until(self, stop: Fastest, deadline: float, on_progress: Any) -> None:
        while stop.wanted()[1]:
            stop.add({name: steady(self.seconds[name]) for name in stop.candidates}, 0.0)


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch, not_compiled: None) -> dict[str, float]:
    """Seconds of each way, which the test may change; compiled ways run as plain Python."""
    of_ways = {"as given": 4.0, "hoisted": 3.0, "torch.nn": 2.5, "fused": 2.2, "compiled": 2.0, "prepacked": 1.0}
    monkeypatch.setattr(FixedTurns, "seconds", of_ways)
    monkeypatch.setattr(search, "LiveTurns", FixedTurns)
    monkeypatch.setattr(compiling, "can_be_ended", lambda device: False)  # all in this process
    monkeypatch.setattr(compiled, "check", lambda device: None)
    return of_ways


def fast(module: Any, input: Any = None, **options: Any) -> Any:
    given = torch.randn(5, 3, 4) if input is None else input
    return rnnbench.fastest(module, given, progress=False, **options)


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize(
    ("module", "all_ways"),
    [
        (nn.GRU(4, 6), ["as given", "hoisted", "fused", "compiled", "prepacked"]),
        (nn.LSTM(4, 6, num_layers=2, bidirectional=True), ["as given", "hoisted", "fused", "compiled", "prepacked"]),
        (nn.RNN(4, 6, nonlinearity="relu"), ["as given"]),
        (nn.LSTM(4, 6, proj_size=2), ["as given"]),
        (LSTMCell(4, 6), ["as given", "hoisted", "torch.nn", "fused", "compiled", "prepacked"]),
        (nn.LSTMCell(4, 6), ["as given", "torch.nn", "fused", "compiled", "prepacked"]),
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.usefixtures("seconds")
def test_the_fastest_way_of_each_kind_of_module_is_chosen(module: nn.Module, all_ways: list[str], phase: Any) -> None:
    counters["graph_break"]["of something else in this process"] += 1
    found = fast(module, phase=phase)
    assert list(found.frame["way"]) == all_ways
    assert list(found.frame["way"][found.frame["is_chosen"]]) == [all_ways[-1]]
    assert not found.frame["reason"].any()


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.usefixtures("seconds")
def test_a_copy_of_a_layer_keeps_its_weights_in_one_block_for_cudnn(
    phase: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the module as given would be timed slower than it is, since cuDNN packs other weights in each call."""
    cudnn = FakeCudnn()
    cudnn.install(monkeypatch)
    fast(nn.Sequential(nn.LSTM(4, 6, num_layers=2)), phase=phase)
    fast(nn.GRU(4, 6), phase=phase)
    assert cudnn.packings == 0


class Pair(nn.Module):
    """A stranger's cell: another name for its size, and the output beside the state."""

    def __init__(self, units: int = 6) -> None:
        super().__init__()
        self.linear = nn.Linear(4 + units, units)

    def forward(self, x: Tensor, prev: Tensor) -> tuple[Tensor, Tensor]:
        new = torch.tanh(self.linear(torch.cat((x, prev), 1)))
        return new, new


class Scaled(Pair):
    """The same with a factor that is no weight."""

    scale = 1.0

    def forward(self, x: Tensor, prev: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(self.scale * x, prev)


@pytest.mark.parametrize("phase", ["inference", "training"])
def test_a_cell_that_runs_as_a_layer_of_torch_is_never_stale(phase: Any, seconds: dict[str, float]) -> None:
    seconds["torch.nn"] = 0.5
    cell, input = Scaled(), torch.randn(5, 3, 4)
    found = fast(cell, input, phase=phase)
    assert list(found.frame["way"][found.frame["is_chosen"]]) == ["torch.nn"]
    as_given = ways.way("cell", "as given")
    run = found._run

    def assert_as_given() -> None:
        results = []
        for call in (found, lambda given: as_given(run.module, given, torch.zeros(1, 3, 6))):
            cell.zero_grad()
            outputs, final = call(input)
            (outputs.sum() + final.sum()).backward()
            results.append((outputs, final, *(each.grad for each in cell.parameters())))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)

    for change in (
        lambda: None,
        lambda: cell.linear.weight.data.mul_(2),
        lambda: found.load_state_dict({name: torch.randn_like(each) for name, each in cell.state_dict().items()}),
        lambda: setattr(cell.linear, "bias", None),
        lambda: setattr(cell, "linear", nn.Linear(10, 6)),
        lambda: setattr(found, "scale", 3.0),
        lambda: cell.linear.register_forward_hook(lambda module, given, result: 2 * result),
    ):
        change()
        assert_as_given()


def test_modes_of_torch_compile_are_compared_before_they_are_timed(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]
) -> None:
    def compile_in(function: Any, implementation: Implementation, mode: str = "") -> Any:
        if mode == "max-autotune":
            return lambda *given: tree_map_only(Tensor, torch.relu, function(*given))
        return function

    seconds |= {"reduce-overhead": 1.5, "max-autotune": 0.5}
    monkeypatch.setattr(
        search,
        "possible_ways",
        lambda *_: dict.fromkeys(["as given", "compiled", "reduce-overhead", "max-autotune"], ""),
    )
    monkeypatch.setattr(compiled, "compiled", compile_in)
    module = nn.Sequential(nn.GRU(4, 6))
    table = fast(module, budget="10m").frame.set_index("way")
    assert table["is_chosen"]["reduce-overhead"]
    assert "is off by" in table["reason"]["max-autotune"]
    in_training = fast(module, phase="training").frame.set_index("way")["reason"]
    assert list(in_training[["reduce-overhead", "max-autotune"]]) == [GRAPHED_GRADIENTS] * 2


class Careful(nn.LSTMCell):
    """It looks like a layer of torch.nn, and refuses the large inputs of a trial."""

    def forward(self, x: Tensor, state: Any = None) -> Any:
        if x.abs().max() > 50:
            raise ValueError("too large")
        return super().forward(x, state)


@pytest.mark.usefixtures("seconds")
def test_a_trial_as_a_layer_that_fails_is_told() -> None:
    reasons = fast(Careful(4, 6)).frame.set_index("way")["reason"]
    assert "a trial as a layer of torch.nn failed" in reasons["torch.nn"]
    assert "too large" in reasons["torch.nn"]


class Pooled(torch.autograd.Function):
    """A weight whose gradient lies in the memory of a CUDA graph, which each backward pass writes anew."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, memory: Tensor) -> Tensor:
        ctx.memory = memory
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ctx.memory.copy_(gradients[0])
        return ctx.memory.detach(), None


@pytest.mark.usefixtures("seconds")
def test_gradients_that_a_second_backward_pass_overwrites_are_no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    run, pool = ways.run_in_way, dict[str, Tensor]()

    def graphed(given: RunModule, name: Any, input: Tensor, state: Any) -> Any:
        if name != "hoisted":
            return run(given, name, input, state)
        weights = dict(given.module.named_parameters())
        of_graph = {
            path: Pooled.apply(each, pool.setdefault(path, each.detach().clone())) for path, each in weights.items()
        }
        return functional_call(given.module, of_graph, (input, state))

    monkeypatch.setattr(agreement, "run_in_way", graphed)
    reasons = fast(nn.GRU(4, 6), phase="training").frame.set_index("way")["reason"]
    assert (
        reasons["hoisted"]
        == "a second backward pass does not add to the gradient of weight_ih_l0: it replaces the first"
    )
    assert list(reasons).count("") == len(reasons) - 1


@pytest.mark.usefixtures("seconds")
def test_a_way_whose_compilation_the_budget_does_not_hold_is_left_out_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "START_SECONDS", 1000.0)
    table = fast(nn.GRU(4, 6), budget="60s").frame.set_index("way")
    assert table["is_chosen"]["fused"]
    assert not table["is_sure"]["fused"]
    assert table["reason"]["compiled"].startswith("compiling it takes about ")
    assert "give a budget of " in table["reason"]["prepacked"]


@pytest.mark.usefixtures("seconds")
def test_a_slow_compilation_does_not_rule_the_next_search(monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowClock:
        """Each look at it is a thousand seconds later than the last."""

        now = 0.0

        def monotonic(self) -> float:
            self.now += 1000.0
            return self.now

    with monkeypatch.context() as slow:
        clock = SlowClock()
        slow.setattr(search, "time", clock)
        slow.setattr(compiling, "time", clock)
        fast(nn.GRU(4, 6), budget="3h")
    found = fast(nn.GRU(4, 6), budget="60s")
    assert not found.frame["reason"].any()
    assert found.frame["is_sure"].all()


@pytest.mark.usefixtures("seconds")
@pytest.mark.parametrize("budget", ["1s", "5s"])
def test_a_compilation_that_does_not_end_in_time_is_ended_and_the_choice_is_not_sure(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], budget: str
) -> None:
    check, parent = why_not, os.getpid()

    def endless(subject: Any, name: Any) -> str:
        if name != "compiled":
            return check(subject, name)
        assert os.getpid() != parent, "only a child can be ended"
        while True:
            time.sleep(1.0)

    monkeypatch.setattr(compiling, "can_be_ended", lambda device: True)
    monkeypatch.setattr(search, "why_not", endless)
    started = time.monotonic()
    found = fast(nn.GRU(4, 6), budget=budget)
    assert time.monotonic() - started < 60  # it ends at all
    table = found.frame.set_index("way")
    assert not table["is_sure"][table["is_chosen"]].any()
    assert "to compile it" in table["reason"]["compiled"] or "did not end" in table["reason"]["compiled"]
    assert "compiled is not used" in repr(found)
    assert "another way may be faster" in repr(found)


def test_each_shape_has_a_way_of_its_own(seconds: dict[str, float]) -> None:
    found = fast(nn.GRU(4, 6), shapes=[(9, 3), (5, 1, 4)])
    shapes = found.frame[["seq_len", "batch_size", "input_size"]].drop_duplicates()
    assert shapes.to_numpy().tolist() == [[5, 3, 4], [9, 3, 4], [5, 1, 4]]
    by_batch = fast(nn.GRU(4, 6, batch_first=True), torch.randn(3, 5, 4), shapes=[(3, 9)])
    shapes = by_batch.frame[["seq_len", "batch_size"]].drop_duplicates()
    assert shapes.to_numpy().tolist() == [[5, 3], [9, 3]]


@pytest.mark.parametrize("sizes", [(1, 5), (5, 1), (1, 1)])
def test_one_sequence_or_one_step_of_a_module_with_the_batch_first_is_told_as_such(
    seconds: dict[str, float], sizes: tuple[int, int]
) -> None:
    batch, steps = sizes
    module = BatchFirst(nn.LSTM(4, 6))
    found = fast(module, torch.randn(batch, steps, 4))
    assert found.frame[["seq_len", "batch_size"]].drop_duplicates().to_numpy().tolist() == [[steps, batch]]


class Random(nn.Module):
    """Draws random numbers."""

    def forward(self, input: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return torch.rand_like(input), state


class Broken(LSTMCell):
    """Its `project` does something else than its `forward`."""

    def forward(self, input: Tensor, state: Any) -> Any:
        h, c = super().forward(input, state)
        return 2 * h, c


@pytest.mark.usefixtures("seconds")
def test_what_must_not_be_used_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    input = torch.randn(5, 3, 4), torch.randn(1, 3, 4)
    table = fast(Random(), input).frame
    assert list(table["way"][table["is_chosen"]]) == ["as given"]
    assert set(table["reason"][1:]) == {
        "two calls with the same input give different outputs: it draws random numbers or keeps a state"
    }
    table = fast(Broken(4, 6)).frame
    assert list(table["way"][table["is_chosen"]]) == ["as given"]
    assert all("is off by" in reason for reason in table["reason"][1:])

    def missing(device: str) -> None:
        raise Skip("there is no compiler")

    monkeypatch.setattr(compiled, "check", missing)
    table = fast(nn.GRU(4, 6)).frame
    assert list(table["reason"]) == ["", "", "", "there is no compiler", "there is no compiler"]
    assert list(table["way"][table["is_chosen"]]) == ["fused"]


@pytest.mark.usefixtures("seconds")
@pytest.mark.parametrize(("may_round", "chosen"), [(True, "torch.nn"), (False, "as given")])
def test_where_a_device_may_round_to_tf32_so_may_a_way_and_it_says_so(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], may_round: bool, chosen: str
) -> None:
    run = ways.run_in_way

    def rounded(module: Any, name: Any, *arguments: Any) -> Any:  # as cuDNN's layers are by default
        outputs, state = run(module, name, *arguments)
        return outputs * (1 + 2**-11 * (name == "torch.nn")), state

    monkeypatch.setattr(agreement, "run_in_way", rounded)
    monkeypatch.setattr(Cpu, "lacks", {} if may_round else {"tf32": "no such units"})
    monkeypatch.setattr(global_state, "tf32_allowed", lambda: (False, True))  # torch's own start
    monkeypatch.setattr(search, "possible_ways", lambda *_: dict.fromkeys(["as given", "torch.nn"], ""))
    found = fast(nn.LSTMCell(4, 6))
    assert found.frame.set_index("is_chosen").loc[True, "way"] == chosen
    assert (f"torch.nn: {search.TF32}" in repr(found)) == may_round
    reasons = found.frame.set_index("way")["reason"]
    assert bool(reasons["torch.nn"]) != may_round  # a note on a way that is used is no reason against it


@pytest.mark.usefixtures("seconds")
def test_a_search_leaves_no_trace_of_its_calls_in_the_module() -> None:
    class Keeps(nn.Module):
        """Draws a mask in its first call, keeps statistics, and its weights change in backward."""

        def __init__(self) -> None:
            super().__init__()
            self.hidden_size = 6
            self.x, self.norm, self.h = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 6)
            self.mask: Tensor | None = None

        def forward(self, x: Tensor, h: Tensor) -> Tensor:
            if self.mask is None:
                self.mask = torch.bernoulli(torch.full_like(h, 0.5))
            return torch.tanh(self.norm(self.x(x)) + self.h(h * self.mask))

    cell = Keeps()
    for parameter in cell.parameters():
        optimizer = torch.optim.SGD([parameter], 0.1)
        parameter.register_post_accumulate_grad_hook(lambda _, step=optimizer.step: step())
        parameter.grad = torch.ones_like(parameter)
    before = {name: value.clone() for name, value in cell.state_dict().items()}
    input = torch.randn(5, 3, 4)
    numbers = torch.random.get_rng_state()
    fast(cell, input, phase="training", shapes=[(5, 2)])
    assert cell.mask is None
    assert torch.equal(torch.random.get_rng_state(), numbers)
    assert all(bool(parameter.grad.eq(1).all()) for parameter in cell.parameters() if parameter.grad is not None)
    assert cell.training
    torch.testing.assert_close(dict(cell.state_dict()), before, rtol=0, atol=0)


@pytest.mark.usefixtures("seconds")
def test_frozen_and_unused_parameters_need_no_gradient() -> None:
    layer = nn.LSTM(4, 6)
    layer.weight_hh_l0.requires_grad = False
    cell = LSTMCell(4, 6)
    cell.register_parameter("unused", nn.Parameter(torch.ones(2)))
    for module in (layer, cell):
        assert not fast(module, phase="training").frame["reason"].any()


class InDict(nn.Module):
    """Gives its outputs by name."""

    def forward(self, input: Tensor) -> dict[str, Tensor]:
        return {"outputs": input}


@pytest.mark.parametrize(
    ("arguments", "options", "error", "words"),
    [
        ((len, torch.ones(5, 3, 4)), {}, TypeError, "module: expected a torch module, found builtin_function"),
        (
            (InDict(), torch.ones(5, 3, 4)),
            {},
            ValueError,
            r"a call returns dict; expected outputs, or \(outputs, state\)",
        ),
        ((nn.GRU(4, 6), torch.ones(5, 4)), {}, ValueError, r"input: expected \(seq, batch, features\).*\(5, 4\)"),
        (
            (nn.GRU(4, 6), torch.ones(5, 3).long()),
            {},
            ValueError,
            r"in floating point for GRU, found \(5, 3\) of torch.int",
        ),
        ((nn.GRU(4, 6), "x"), {}, ValueError, "input: expected .* found str"),
        ((nn.GRU(4, 6), torch.ones(5, 0, 4)), {}, ValueError, r"sizes of 1 or more; found \(5, 0, 4\)"),
        ((nn.GRU(4, 6), torch.ones(5, 3, 4)), {"phase": "step"}, ValueError, "phase: expected one of inference, train"),
        ((nn.GRU(4, 6), torch.ones(5, 3, 4)), {"shapes": [(5, -1)]}, ValueError, r"shapes: .* found \[5, -1\]"),
        (
            (nn.GRU(4, 6), torch.ones(5, 3, 4)),
            {"shapes": [(5, 3, 9)]},
            ValueError,
            r"batch, 4\), each 1 or more; found \[5, 3, 9\]",
        ),
        ((nn.GRU(4, 6), torch.ones(5, 3, 4)), {"budget": "soon"}, ValueError, "'soon' is not a duration; expected"),
        (
            (nn.GRU(4, 6), (torch.ones(5, 3, 4), torch.ones(3, 6))),
            {},
            ValueError,
            r"state: expected \(layers, 3, hidden\) for each tensor, found \(3, 6\)",
        ),
    ],
)
def test_other_arguments_are_refused(arguments: Any, options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        rnnbench.fastest(*arguments, progress=False, **options)


class Classifier(nn.Module):
    """Gives one row for each sequence, and no state."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.gate = nn.Linear(4, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, input: Tensor) -> Tensor:
        gate = torch.sigmoid(self.gate(input))
        rows: Tensor = self.head(gate.cumprod(dim=1 if self.batch_first else 0).sum(dim=1 if self.batch_first else 0))
        return rows


@pytest.mark.usefixtures("seconds")
@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize(
    ("module", "input"),
    [
        (nn.Sequential(nn.Embedding(9, 4), nn.GRU(4, 6)), torch.tensor([[1, 2], [8, 0], [3, 3]])),
        (nn.Sequential(nn.Flatten(2), nn.GRU(50, 6)), torch.randn(2, 3, 2, 5, 5)),
        (Classifier(batch_first=False), torch.randn(3, 2, 4)),
        (Classifier(batch_first=True), torch.randn(3, 2, 4)),
    ],
)
def test_modules_that_read_other_inputs_or_give_their_outputs_alone_are_searched(
    phase: Any, module: nn.Module, input: Tensor
) -> None:
    found = fast(module, input, phase=phase, shapes=[(4, 5)])
    assert list(found.frame["way"][found.frame["is_chosen"]]) == ["prepacked"] * 2
    with torch.set_grad_enabled(phase == "training"):
        torch.testing.assert_close(found(input), module(input))


class Clockwork(nn.GRUCell):
    """Every second step is skipped; counts its steps in an attribute."""

    step = 0

    def forward(self, x: Tensor, h: Tensor) -> Tensor:  # type: ignore[override]
        self.step += 1
        return super().forward(x, h) if self.step % 2 else h


@pytest.mark.usefixtures("quick_compiler")
def test_code_that_would_be_compiled_anew_in_each_call_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "possible_ways", lambda *_: dict.fromkeys(["as given", "compiled"], ""))
    found = rnnbench.fastest(Clockwork(4, 8).eval(), torch.randn(2, 2, 4), budget=900, progress=False)
    assert "compiled again in each call" in repr(found)


@pytest.mark.usefixtures("seconds")
@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("module", [nn.GRU(4, 6), LSTMCell(4, 6), nn.Sequential(nn.GRU(4, 6))])
def test_what_is_timed_is_what_is_handed_back(monkeypatch: pytest.MonkeyPatch, phase: Any, module: nn.Module) -> None:
    made, timed = timed_call, list[Any]()

    def kept(case: Any, *arguments: Any) -> Any:
        timed.append(case.run)
        return made(case, *arguments)

    monkeypatch.setattr(search, "timed_call", kept)
    found = fast(module, phase=phase)
    assert len(timed) == len(found.frame)
    assert all(isinstance(run, RunInWays) for run in timed)
    assert [run.way_for(CallShape(5, 3, 4, "float32", "cpu", 1, phase)) for run in timed] == list(found.frame["way"])


def test_a_gpu_has_modes_of_torch_compile_for_it() -> None:
    run = RunModule(nn.GRU(4, 6), "layer", (torch.zeros(1, 1, 6),))
    on_gpu: Any = SimpleNamespace(is_cuda=True)
    assert [*possible_ways(run, on_gpu, None)] == ["as given", "hoisted", "compiled", "reduce-overhead", "max-autotune"]


def test_results_of_a_cuda_graph_are_copied_since_its_next_call_writes_into_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = torch.zeros(5, 3, 4)
    monkeypatch.setattr(torch, "compile", lambda *_, **__: lambda module, input, state: (written.copy_(input), state))
    run = way("sequence", "reduce-overhead")
    way.cache_clear()
    first, _ = run(nn.Identity(), torch.ones(5, 3, 4), None)
    run(nn.Identity(), 2 * torch.ones(5, 3, 4), None)
    torch.testing.assert_close(first, torch.ones(5, 3, 4))


# Modules that a suite names


def case(cell: str = "gru", **changes: Any) -> Case:
    return small.case(cell, **{"dtype": "float32", **changes})


def test_cases_of_one_module_become_its_shapes() -> None:
    first = case(seq_len=5, batch_size=2)
    cases = [first, case(seq_len=7, batch_size=2), Case("gru", "hoisted", first.workload)]
    found, left_out = wanted([*cases, case(seq_len=5, batch_size=2, hidden_size=9)])
    assert not left_out
    assert [(module.workload.hidden_size, shapes) for module, shapes in found.items()] == [
        (cases[0].workload.hidden_size, [(5, 2), (7, 2)]),
        (9, [(5, 2)]),
    ]


def test_modules_are_built_as_the_case_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "find", lambda module, *_, **__: (None, module))
    stack = small.reference_case("lstm", num_layers=2, bidirectional=True, dtype="float32")
    relu = case("vanilla", nonlinearity="relu")
    modules = wanted([case(dtype="float64"), stack, relu])[0]
    module, built, activated = (cast("Any", find_wanted(each, [(1, 1)], Path(), 1.0, print)[1]) for each in modules)
    assert isinstance(module, GRUCell)
    assert module.weight_hh.dtype == torch.float64
    assert isinstance(built, nn.LSTM)
    assert (built.num_layers, built.bidirectional) == (2, True)
    assert activated.nonlinearity is torch.relu


def test_what_can_not_be_run_alone_is_left_out() -> None:
    for one in (case(phase="step"), case(lengths="varied"), case(num_layers=2), case(bidirectional=True)):
        assert wanted([one]) == ({}, search.LEFT_OUT)


def test_a_way_that_this_processor_can_not_run_is_left_out_and_the_search_goes_on(
    seconds: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds["torch.nn"] = 0.5  # it would be the fastest
    state = torch.zeros(1, 3, 6), torch.zeros(1, 3, 6)
    layer = equal_layer(LSTMCell(4, 6), torch.randn(5, 3, 4), state)
    assert layer is not None
    monkeypatch.setattr(ways, "equal_layer", lambda *_: layer)  # which is not found where products are rounded
    with torch.autocast("cpu", unable_dtype()):
        found = fast(LSTMCell(4, 6))
    rows = found.frame.set_index("way")
    assert rows["reason"]["torch.nn"].startswith(REASON)
    assert rows["is_chosen"]["prepacked"]
    assert math.isnan(rows["seconds"]["torch.nn"])


def test_a_module_that_this_processor_can_not_run_is_an_error_in_plain_words() -> None:
    with torch.autocast("cpu", unable_dtype()), pytest.raises(RuntimeError, match=f"^{REASON}"):
        fast(nn.LSTM(4, 6))
    for input in (torch.randn(5, 3, 4), torch.randn(5, 1, 4)):
        with pytest.raises(RuntimeError, match=f"^{REASON}"):
            fast(Cast(4, 6), input)

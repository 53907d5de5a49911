"""Models: of users' own classes, with another cell as the reference, and what each task feeds into the sequence.

A class is compared if its weights can be mapped, otherwise only timed, and its errors are named.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from syrupy.assertion import SnapshotAssertion

from rnnbench.cells import CellError
from rnnbench.store.implementations import Implementation
from rnnbench.store.records import (
    Case,
)
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.observe import observe
from rnnbench.workloads.parity import ParityError, compare
from rnnbench.workloads.prepare import build, reference_case
from tests.doubles import workload as small

GOOD = """
import torch
from torch import nn
from torch.nn.functional import linear

class Apart(nn.Module):  # other names than torch's, and a buffer
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x, self.h = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size, bias=False)
        self.spare = nn.Parameter(torch.ones(hidden_size))
        self.register_buffer("steps", torch.zeros(1))
    def project(self, input):
        return self.x(input)
    def advance(self, projected, h):
        return torch.tanh(projected + self.h(h) + self.spare)
    def forward(self, input, h):
        return self.advance(self.project(input), h)
    def weights_from(self, reference):
        bias = reference["bias_ih_l0"] + reference["bias_hh_l0"]
        weights = {"x.weight": reference["weight_ih_l0"], "h.weight": reference["weight_hh_l0"], "x.bias": bias}
        return weights | {"spare": torch.zeros_like(bias)}

class Renamed(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell = nn.RNNCell(input_size, hidden_size)
    def forward(self, input, h):
        return self.cell(input, h)

class Dropping(nn.RNNCell):
    def forward(self, input, h):
        return super().forward(nn.functional.dropout(input, 0.5, self.training), h)

class Tied(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x, self.h = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.again = nn.Linear(hidden_size, hidden_size, bias=False)
        self.again.weight = self.h.weight
    def forward(self, input, h):
        return torch.tanh(self.again(torch.tanh(self.x(input) + self.h(h))))

class Silent(nn.RNNCell):
    weights_from = None

class ReLU(nn.RNNCell):  # another function under the same names
    def forward(self, input, h):
        return torch.relu(linear(input, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh, self.bias_hh))

class NoGradient(nn.RNNCell):
    def forward(self, input, h):
        return super().forward(input, h).detach()

class Four(nn.Module):  # a state of four tensors, as an sLSTM's
    states = 4
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x = nn.Linear(input_size, hidden_size)
    def forward(self, input, state):
        h, c, n, m = state
        return torch.tanh(self.x(input) + h), c + h, n, m

class Whole(nn.Module):
    def __init__(self, input_size, hidden_size, num_layers=1, *, bidirectional=False):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, bidirectional=bidirectional)
    def forward(self, input, state):
        return self.lstm(input, state)
    def weights_from(self, reference):
        return {f"lstm.{name}": weight for name, weight in reference.items()}

class Pair(nn.LSTMCell):  # gives its output beside a state like torch's
    def forward(self, input, state=None):
        h, c = super().forward(input, state)
        return h, (h, c)

class BatchFirst(nn.LSTM):
    def __init__(self, input_size, hidden_size, **more):
        super().__init__(input_size, hidden_size, batch_first=True, **more)

class OneLayer(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.gru = nn.GRU(input_size, hidden_size)
    def forward(self, input, state):
        return self.gru(input, state)
"""


MINE = """
import torch
from torch import nn

class Old(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.x, self.h = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
    def forward(self, input, state=None):
        h, count = state or (input.new_zeros(len(input), self.h.out_features), input.new_zeros(len(input), 1))
        h = torch.tanh(self.x(input) + self.h(h))
        return h, (h, count + 1)

class New(Old):
    def project(self, input):
        return self.x(input)
    def forward(self, input, state):
        h, count = state
        return torch.tanh(torch.addmm(self.x(input) + self.h.bias, h, self.h.weight.T)), count + 1

class Wrong(Old):
    def forward(self, input, state=None):
        h, (_, count) = super().forward(input, state)
        return 1.001 * h, (1.001 * h, count)

class Larger(Old):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.more = nn.Parameter(torch.zeros(1))
    def forward(self, input, state=None):
        return super().forward(input + self.more, state)

class Whole(nn.GRU):
    pass

class Same(nn.GRU):
    def forward(self, input, state=None):
        outputs, h = super().forward(input, state)
        return outputs.clone(), h
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the cells' files."""
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def parity(root: Path, cell: str, implementation: Implementation = "loop", **changes: Any) -> str:
    """The parity before a case is timed; it is compared again after a call."""
    case = Case(cell, implementation, small.workload(**changes))
    built = build(case, root)
    found = str(observe(built).parity)
    timed = built.timed_call()
    with timed.mode():
        timed.call()
    compare(built, timed, lambda: build(reference_case(case), root), lambda: build(case, root))
    return found


@pytest.mark.parametrize(
    ("target", "implementation", "reference"),
    [
        ("good.py:Apart", "loop", "rnn"),
        ("good.py:Apart", "hoisted", "rnn"),
        ("good.py:Apart", "transposed", "rnn"),
        ("torch.nn:RNNCell", "loop", "rnn"),
        ("torch.nn:LSTMCell", "loop", "lstm"),
        ("rnnbench.cells.lstm:LSTMCell", "hoisted", "lstm"),
        ("good.py:Pair", "loop", "lstm"),
        ("good.py:Whole", "sequence", "lstm"),
        ("good.py:BatchFirst", "sequence", "lstm"),
        ("torch.nn:GRU", "sequence", "gru"),
    ],
)
@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("changes", [{}, {"num_layers": 2, "bidirectional": True}, {"task": "encoder_decoder"}])
def test_a_class_whose_weights_can_be_mapped_is_compared(
    root: Path, target: str, implementation: Any, reference: Any, phase: Any, changes: dict[str, Any]
) -> None:
    measurement = observe(
        build(Case(target, implementation, small.workload(reference=reference, phase=phase, **changes)), root)
    )
    assert str(measurement.parity) == "agrees"
    assert measurement.parity_error is not None
    assert measurement.parity_error < 1e-13


def test_a_class_of_the_same_names_and_another_function_is_found(root: Path) -> None:
    with pytest.raises(ParityError, match="output is off by"):
        parity(root, "good.py:ReLU")


@pytest.mark.parametrize(
    ("target", "implementation", "changes"),
    [
        ("good.py:Renamed", "loop", {}),
        ("good.py:OneLayer", "sequence", {"reference": "gru"}),
        ("good.py:Silent", "loop", {}),
        ("good.py:ReLU", "loop", {"reference": "none"}),
        ("good.py:Four", "loop", {"reference": "none"}),
        ("good.py:Four", "loop", {"reference": "none", "num_layers": 2, "lengths": "varied"}),
        ("torch.nn:LSTMCell", "transposed", {"reference": "none", "phase": "training"}),
        ("torch.nn:LSTM", "sequence", {"reference": "none", "task": "many_to_one"}),
    ],
)
def test_what_can_not_be_compared_is_timed_alone_and_says_why(
    root: Path, target: str, implementation: Any, changes: dict[str, Any], snapshot: SnapshotAssertion
) -> None:
    built = build(Case(target, implementation, small.workload(**changes)), root)
    measurement = observe(built)
    assert str(measurement.parity).startswith("not compared: ")
    assert str(measurement.parity) == snapshot
    assert measurement.works
    assert built.timed_call() is not None


def test_a_class_that_knows_no_gradient_can_be_timed_in_inference(root: Path) -> None:
    assert parity(root, "good.py:NoGradient") == "agrees"


def test_a_class_with_dropout_of_its_own_draws_none_in_inference(root: Path) -> None:
    assert parity(root, "good.py:Dropping") == "agrees"
    with pytest.raises(ParityError, match="is off by"):
        parity(root, "good.py:Dropping", phase="training")


def test_a_weight_that_is_tied_to_another_counts_once(root: Path) -> None:
    measurement = observe(build(Case("good.py:Tied", "loop", small.workload()), root))
    assert measurement.metrics["parameters"] == (5 * 6 + 6) + (6 * 6 + 6) + (6 * 2 + 2)


def test_a_class_keeps_its_own_weights_where_they_can_not_be_mapped_and_takes_the_heads(root: Path) -> None:
    built = build(Case("good.py:Renamed", "loop", small.workload()), root)
    assert torch.equal(built.model.head.weight, built.reference.head.weight)


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        ("gru", {}),
        ("good.py:Whole", {"lengths": "varied"}),
        ("good.py:Whole", {"dropout": 0.5, "num_layers": 2}),
        ("good.py:OneLayer", {"num_layers": 2}),
        ("good.py:OneLayer", {"bidirectional": True}),
    ],
)
def test_a_whole_sequence_is_skipped_where_it_makes_no_sense(
    root: Path, target: str, changes: dict[str, Any], snapshot: SnapshotAssertion
) -> None:
    with pytest.raises(Skip) as raised:
        build(Case(target, "sequence", small.workload(reference="lstm", **changes)), root)
    assert str(raised.value) == snapshot


def test_states_that_are_no_number_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("from torch import nn\nclass Mine(nn.RNNCell):\n    states = 'h'\n")
    with pytest.raises(CellError, match=r"Mine.states is 'h'; expected how many tensors"):
        build(Case("bad.py:Mine", "loop", small.workload(reference="none")), tmp_path)


@pytest.mark.parametrize(
    "mapping",
    [
        "{'weight': reference['weight_ih_l0'].t()}",
        "{n.removesuffix('_l0'): w.t() for n, w in reference.items()}",
        "[3]",
        "{'weight_ih': reference['weight_ih']}",
    ],
)
def test_a_mapping_that_does_not_fit_names_both_sides(
    tmp_path: Path, mapping: str, snapshot: SnapshotAssertion
) -> None:
    head = "from torch import nn\nclass Mine(nn.RNNCell):\n    def weights_from(self, reference):\n"
    (tmp_path / "bad.py").write_text(f"{head}        return {mapping}\n")
    with pytest.raises(CellError) as raised:
        build(Case("bad.py:Mine", "loop", small.workload()), tmp_path)
    assert str(raised.value) == snapshot


LEARNING = """
import torch
from torch import nn

class Learning(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.key = nn.Linear(input_size, hidden_size, bias=False)
        self.query = nn.Linear(input_size, hidden_size, bias=False)
        self.hidden_size = hidden_size

    def initial_state(self, batch_size):
        return self.key.weight.new_zeros(batch_size, self.hidden_size, self.hidden_size)

    def forward(self, input, state):
        key, query, trains = self.key(input), self.query(input), torch.is_grad_enabled()
        with torch.enable_grad():
            memory = state if state.requires_grad else state.detach().requires_grad_()
            error = (torch.einsum("bij,bj->bi", memory, key) - key).square().sum()
            (gradient,) = torch.autograd.grad(error, memory, create_graph=trains)
        new = memory - 0.1 * gradient
        new = new if trains else new.detach()
        return torch.einsum("bij,bj->bi", new, query), new
"""


@pytest.mark.parametrize(
    "changes",
    [{"phase": "inference"}, {"phase": "training"}, {"phase": "inference", "task": "streaming", "seq_len": 1}],
)
def test_a_cell_that_takes_gradients_in_its_steps_is_observed_and_timed(tmp_path: Path, changes: Any) -> None:
    (tmp_path / "mine.py").write_text(LEARNING)
    case = Case("mine.py:Learning", "loop", small.workload(reference="none", **changes))
    built = build(case, tmp_path)
    assert built.model.takes_own_gradients
    assert observe(built).works
    timed = build(case, tmp_path).timed_call()
    with timed.mode():
        timed.call()
        timed.call()


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_layers": 2, "bidirectional": True},
        {"lengths": "varied"},
        {"task": "many_to_one"},
        {"task": "encoder_decoder"},
    ],
)
def test_a_rewritten_cell_is_compared_with_the_old_one(root: Path, phase: Any, changes: Any) -> None:
    assert parity(root, "mine.py:New", reference="mine.py:Old", phase=phase, **changes) == "agrees"
    assert (
        parity(root, "mine.py:Old", "reference", reference="mine.py:Old", phase=phase, **changes) == "is the reference"
    )


@pytest.mark.parametrize(
    ("cell", "implementation", "reference", "words"),
    [
        ("gru", "loop", "gru", "agrees"),  # torch.nn.GRU
        ("torch.nn:LSTMCell", "loop", "lstm", "agrees"),
        ("mine.py:Same", "sequence", "mine.py:Whole", "agrees"),
        ("min_gru", "loop", "min_gru", "not compared: the class asks for that (`weights_from = None`)"),
        ("min_gru", "loop", "mine.py:Old", "not compared: its state is not that of mine.py:Old"),
        ("mine.py:Old", "loop", "mine.py:Whole", "not compared: its state is not that of mine.py:Whole"),
        ("mine.py:Larger", "loop", "mine.py:Old", "not compared: its parameters are not those of mine.py:Old"),
    ],
)
def test_a_shipped_cell_or_a_module_is_a_reference_too(
    root: Path, cell: str, implementation: Any, reference: Any, words: str
) -> None:
    assert parity(root, cell, implementation, reference=reference, phase="training") == words


def test_another_function_of_the_same_parameters_is_found(root: Path) -> None:
    with pytest.raises(ParityError, match="of the reference's largest value"):
        parity(root, "mine.py:Wrong", reference="mine.py:Old")


@pytest.mark.parametrize(
    ("task", "changes", "read", "given"),
    [
        ("many_to_many", {}, 4, 4),
        ("many_to_one", {}, 4, 1),
        ("one_to_one", {"seq_len": 1}, 1, 1),
        ("one_to_many", {"input_size": 2}, 1, 4),
        ("encoder_decoder", {}, 4, 4),
        ("encoder_decoder", {"output_len": 9}, 4, 9),
    ],
)
def test_each_task_reads_and_gives_its_own_number_of_steps(task: Any, changes: Any, read: int, given: int) -> None:
    for case in (
        small.case("lstm", task=task, **changes),
        small.reference_case("lstm", task=task, **changes),
    ):
        built = build(case, Path())
        output, _ = built.model(built.input, built.state)
        assert built.input.shape[0] == read
        assert output.shape == (given, 3, 2)
        assert case.workload.output_steps == given


def test_one_to_many_is_fed_what_it_has_given() -> None:
    built = build(small.case("gru", task="one_to_many", input_size=2), Path())
    output, _ = built.model(built.input, built.state)
    body: Any = built.model.body
    h, fed = built.state, built.input[0]
    for step in output:
        h = body.cells[0](fed, h)
        fed = built.model.head(h)
        torch.testing.assert_close(step, fed)


def test_a_decoder_has_weights_of_its_own_and_starts_where_the_encoder_ended() -> None:
    built = build(small.case("vanilla", task="encoder_decoder", output_len=1), Path())
    model: Any = built.model
    assert model.decoder.cells[0].weight_ih.shape == (6, 2)  # it is fed outputs
    _, end = model.body(built.input, built.state)
    expected = model.head(model.decoder.cells[0](torch.zeros(3, 2).double(), end))
    torch.testing.assert_close(model(built.input, built.state)[0][0], expected)

"""Each awkward cell runs as it is, computes what it would by itself, and can be trained. States of any structure."""

import re
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rnnbench.adapt.calls import CellCall, adapt
from rnnbench.cells import CellError, with_arguments
from rnnbench.cells.states import is_alike, rebuilt, tensors_of
from rnnbench.store.records import Case
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.adapt import awkward
from tests.doubles import workload as small

FILE = Path(awkward.__file__)
KINDS = (
    "Tutorial",
    "WithoutState",
    "Apart",
    "Named",
    "Matrix",
    "Sized",
    "Four",
    "Unused",
    "built",
    "Complex",
    "scripted",
    "FourArguments",
    "TwoPairs",
    "OneTuple",
    "FromBuffer",
    "scripted_from_buffer",
    "Mixing",
    "GoesOn",
    "GivesMore",
    "Normalised",
)
OF_FRAMES = ("FrameState", "FrameStateBySize", "FrameStateByNumbers", "FramesFromInput")
OTHER = with_arguments("awkward.py:Other", {"theta": 4, "norm": True})


def case(name: str, **changes: Any) -> Case:
    cell = name if ":" in name else f"awkward.py:{name}"
    return Case(cell, "loop", small.workload(**changes))


@pytest.mark.parametrize("phase", ["inference", "training"])
@pytest.mark.parametrize("reference", ["none", "lstm", "gru"])
@pytest.mark.parametrize("name", [*KINDS, OTHER])
def test_it_runs_as_it_is(name: str, reference: Any, phase: Any) -> None:
    measurement = observe(build(case(name, reference=reference, phase=phase), FILE.parent))
    assert str(measurement.parity).startswith("not compared: ")
    assert measurement.metrics["operators"] > 0


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("name", OF_FRAMES)
def test_a_state_of_frames_is_made_and_shown_as_features(name: str, batch_size: int) -> None:
    of_frames = case(name, reference="none", phase="training", batch_size=batch_size, input="frames:2x4x3")
    built = build(of_frames, FILE.parent)
    observe(built)
    assert built.model.head.in_features == 6 * 4 * 3


class Usual(nn.Module):
    """A plain cell with three tensors of its own sizes."""

    def forward(self, input: Tensor, state: Any = None) -> Any:
        h, one, two = state or (input.new_zeros(len(input), size) for size in (6, 1, 2))
        return h + input.sum(1, keepdim=True), one + 1, two


def test_a_plain_cell_with_a_state_of_its_own_is_left_as_it_is() -> None:
    cell, input = Usual(), torch.randn(2, 4)
    _, state = adapt(cell, input, torch.randn(2, 6))
    assert state is not None
    assert [tuple(part.shape) for part in state] == [(2, 6), (2, 1), (2, 2)]
    assert "forward" not in vars(cell)


def test_a_parameter_that_no_gradient_reaches_is_noted() -> None:
    measurement = observe(build(case("Unused", reference="gru", phase="training"), FILE.parent))
    assert str(measurement.parity).endswith("as torch.nn.GRUCell does; no gradient reaches scale")


def test_layers_and_both_directions_have_a_state_each() -> None:
    wide = case("Apart", num_layers=2, bidirectional=True, reference="none", phase="training", batch_size=3)
    built = build(wide, FILE.parent)
    assert [tuple(part.shape) for part in built.layer_state] == [(4, 3, 6), (4, 3, 6)]
    assert float(built.layer_state[1].min()) == 1.0  # as `initial_state` says
    observe(built)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Changing", "Changing: its state changes from (3, 7) to (3, 8) in a step, so no step can go on from it"),
        ("Grows", "Grows: its state grew from 3 to 6 rows in a step"),
        ("KeepsItsOwn", "KeepsItsOwn: it keeps its own state from call to call"),
        ("TwoInputs", "TwoInputs can't be called: it needs `latent`, which is not known to be a state"),
        (
            "NotBegun",
            "Its last exception: AttributeError: 'NotBegun' object has no attribute 'previous_state' (awkward.py",
        ),
        ("BatchFirst", "BatchFirst: its forward takes no state; a cell takes one"),
        (
            "FixedSizes",
            "it takes three state arguments (h, c and mem), and no sizes of them that fit were found; add a",
        ),
        ("FixedSizes", "Its last exception: ValueError: mem is too short (awkward.py:"),
        ("Unpacks", "Unpacks: no first state was found by trial; add a method init_state(batch_size) that returns it"),
        ("Misfit", "shapes cannot be multiplied (3x4 and 5x6)"),
        ("broken_script", "mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
        ("Tree", "Tree mixes the sequences of a batch: row 1 of its output depends on row 0 of its state"),
        (
            "BatchStatistics",
            "BatchStatistics mixes the sequences of a batch: row 1 of its output depends on row 0 of its in",
        ),
        ("not_a_module", "not_a_module builds int; expected a torch.nn.Module"),
        ("Other", "'theta'; give what it needs with its name, 'Other(theta=VALUE)', or in the sweep, arguments = {th"),
        (with_arguments("awkward.py:Other", {"theta": 0}), "Other: its new state has infinite values"),
        ("Failing", "Failing.init_hidden: it raises RuntimeError: no room for 3"),
        (
            "Picky",
            "Picky(input_size=5, hidden_size=6) can't be built: ValueError: hidden_size 6 is not a power of two (",
        ),
        (with_arguments("awkward.py:Base", {"depth": 2}), "got an unexpected keyword argument 'depth'"),
    ],
)
def test_what_can_not_be_run_is_told_in_words(name: str, words: str) -> None:
    with pytest.raises((CellError, ZeroDivisionError, TypeError, IndexError, RuntimeError)) as raised:
        observe(build(case(name, reference="none"), FILE.parent))
    assert words in f"{type(raised.value).__name__}: {raised.value}"


@pytest.mark.parametrize("how", ["loop", "sequence"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_mixed_sequences_are_refused_in_a_batch_of_one_too(how: Any, batch_size: int) -> None:
    name = "Tree" if how == "loop" else "MixingLayer"
    mixing = Case(f"awkward.py:{name}", how, small.workload(reference="none", batch_size=batch_size))
    with pytest.raises(CellError, match=f"{name} mixes the sequences of a batch"):
        build(mixing, FILE.parent)


def test_a_reason_names_a_line_of_the_users_file_and_none_of_torchs() -> None:
    for name, files in (("Misfit", ["awkward.py"]), ("broken_script", [])):
        with pytest.raises(CellError) as raised:
            observe(build(case(name, reference="none"), FILE.parent))
        reason = str(raised.value)
        assert re.search(r"RuntimeError: (\w+: )?mat1 and mat2 shapes cannot be multiplied", reason)
        assert "can't be called: its weights fit no input float64 (3, 5) with a state float64 (3, 6)" in reason
        assert re.findall(r"(\w+\.py):\d+", reason) == files  # TorchScript has no lines


def test_a_layer_of_another_size_says_that_one_layer_is_expected(tmp_path: Path) -> None:
    source = """
import torch
from torch import nn
class Mine(nn.RNNCell):
    def forward(self, input, state=None):
        h = super().forward(input, None if state is None else state[0])
        return h, input
"""
    (tmp_path / "mine.py").write_text(source)
    build(Case("mine.py:Mine", "loop", small.workload(reference="none")), tmp_path)
    with pytest.raises(CellError, match="keeps states of unlike sizes in its layers or directions; expected num_lay"):
        build(Case("mine.py:Mine", "loop", small.workload(reference="none", num_layers=2)), tmp_path)


Pair = namedtuple("Pair", "h c")  # as people write it
structures = st.recursive(
    st.builds(lambda value: torch.tensor([float(value)]), st.integers(0, 10**6)),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3),
        st.lists(parts, min_size=1, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["h", "c", "n", "m"]), parts, min_size=1),
        st.builds(Pair, parts, parts),
        st.builds(awkward.Memory, parts, parts),
    ),
    max_leaves=8,
)


def reordered(state: Any) -> Any:
    """The same state with the keys of every dictionary in the opposite order."""
    if isinstance(state, dict):
        return {key: reordered(part) for key, part in reversed(state.items())}
    if isinstance(state, awkward.Memory):
        return awkward.Memory(reordered(state.matrix), reordered(state.h))
    if isinstance(state, Pair):
        return Pair(*map(reordered, state))
    return state if isinstance(state, Tensor) else type(state)(map(reordered, state))


@given(structures)
def test_the_order_of_keys_changes_nothing(state: Any) -> None:
    other = reordered(state)
    assert is_alike(other, state)
    assert rebuilt(state, iter(tensors_of(other, state))) == state


def test_a_state_that_holds_something_else_is_refused() -> None:
    with pytest.raises(CellError, match="its state holds str; expected tensors"):
        tensors_of({"h": "zero"})


@pytest.mark.parametrize("shown", [0, 1, 2, None])
@pytest.mark.parametrize("batch_dim", [0, 1])
def test_a_state_is_passed_around_with_the_output_in_front_and_comes_back_as_it_was(
    shown: int | None, batch_dim: int
) -> None:
    state = tuple(torch.randn(3, 4).movedim(0, batch_dim) for _ in range(3))
    call = CellCall(state, "second", "output, state", shown, (batch_dim,) * 3)
    in_front = [part.movedim(batch_dim, 0) for part in state]
    output = torch.randn(3, 4) if shown is None else in_front[shown]
    others = [part for number, part in enumerate(in_front) if number != shown]
    parts = call.flat(output, state)
    assert len(parts) == 1 + len(others)
    assert all(map(torch.equal, parts, (output, *others)))
    assert all(map(torch.equal, call.cell_state(parts), state))


SIZES = """
import torch
from torch import nn

class Liquid(nn.Module):
    def __init__(self, num_units):
        super().__init__()
        self.state_size = num_units
        self.layer = nn.Linear(2 * num_units, num_units)

    def forward(self, input, state):
        return torch.tanh(self.layer(torch.cat((input, state), 1)))

def liquid(input_size, hidden_size):
    class Padded(Liquid):
        def forward(self, input, state):
            return super().forward(nn.functional.pad(input, (0, hidden_size - input_size)), state)
    return Padded(hidden_size)

class Projected(nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.inner, self.outer = nn.LSTMCell(input_size + 3, hidden_size), nn.Linear(hidden_size, 3)

    def init_state(self, batch_size):
        return torch.zeros(batch_size, 3), torch.zeros(batch_size, 3)

    def forward(self, input, state):
        h = torch.cat((input, state[0]), 1)
        new = self.outer(self.inner(h)[0])
        return new, state[1] + new
"""


@pytest.mark.parametrize("hidden_size", [6, 9])
def test_a_cell_that_gets_no_hidden_size_is_refused_with_the_argument_that_got_the_other_one(
    tmp_path: Path, hidden_size: int
) -> None:
    (tmp_path / "sizes.py").write_text(SIZES)
    cell = "sizes.py:Liquid"
    of_size: dict[str, Any] = {"reference": "none", "hidden_size": hidden_size, "dtype": "float32"}
    words = (
        rf"Liquid\(num_units=5\) does not depend on hidden_size {hidden_size}: `num_units` gets the input size, and its"
    )
    with pytest.raises(CellError, match=words):
        observe(build(case(cell, **of_size), tmp_path))
    observe(build(case("sizes.py:liquid", **of_size), tmp_path))
    observe(build(case("sizes.py:Projected", **of_size), tmp_path))
    observe(build(case(cell, **of_size, input_size=hidden_size), tmp_path))

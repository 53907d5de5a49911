"""A user's own class is built with the sizes that it names; each error is found before it is timed, and told."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rnnbench
from rnnbench.adapt.contract import construct, constructor_call, is_size, seed
from rnnbench.cells import CellError
from rnnbench.store.records import Case
from rnnbench.workloads.make_model import built_by
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.adapt import awkward
from tests.doubles import workload as small

HEAD = "import torch\nfrom torch import nn\n"
CLASS = HEAD + "class Mine(nn.{base}):\n    weights_from = None\n    def forward(self, input, state):\n        {body}\n"
NEW = "new = super().forward(input, state)"
RUN = "outputs, final = super().forward(input, state)"


def fault(folder: Path, source: str, implementation: Any = "loop", **changes: Any) -> str:
    (folder / "mine.py").write_text(source)
    with pytest.raises(CellError) as raised:
        observe(build(Case("mine.py:Mine", implementation, small.workload(**changes)), folder))
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("base", "body", "words"),
    [
        (
            "RNNCell",
            f"{NEW}; return torch.cat((new, new[:, :1]), 1)",
            "Mine: its state changes from (3, 6) to (3, 7) in a step",
        ),
        ("RNNCell", f"{NEW}; return new, 3.0", "is (float64 (3, 6), float); expected float64 (3, 6)"),
        ("RNNCell", f"{NEW}; return new.float()", "is float32 (3, 6); expected float64 (3, 6)"),
        ("RNNCell", f"{NEW}; return new / 0 * 0", "has NaN"),
        ("RNNCell", f"{NEW}; return new / 0", "has infinite values"),
        (
            "RNNCell",
            "input *= 2; return super().forward(input, state)",
            "Mine changes its input in place; the next call",
        ),
        ("RNNCell", f"{NEW}; return state.copy_(new)", "Mine changes the state that it is given in place"),
        ("LSTMCell", f"{NEW}; return new[0]", "is float64 (3, 6); expected (float64 (3, 6), float64 (3, 6))"),
        ("LSTMCell", f"{NEW}; return new[0], None", "is (float64 (3, 6), None); expected (float64 (3, 6), float64"),
        (
            "LSTM",
            f"{RUN}; return outputs[..., :3], final",
            "Mine: its output is float64 (4, 3, 3); expected float64 (4,",
        ),
        ("LSTM", f"{RUN}; return outputs", "Mine returns float64 (4, 3, 6); expected (outputs, state)"),
        (
            "LSTM",
            f"{RUN}; return outputs, final[0]",
            "Mine: its final state is float64 (1, 3, 6); expected (float64 (1",
        ),
        ("LSTM", "input.zero_(); return super().forward(input, state)", "Mine changes its input in place"),
        ("LSTM", f"{RUN}; return outputs * float('nan'), final", "Mine: its output has NaN"),
    ],
)
def test_what_gives_something_else_is_described(tmp_path: Path, base: str, body: str, words: str) -> None:
    how, reference = ("loop" if base.endswith("Cell") else "sequence"), base.removesuffix("Cell").lower()
    said = fault(tmp_path, CLASS.format(base=base, body=body), how, reference=reference)
    assert said.startswith((words, f"Mine: its new state {words}"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return super().forward(input, state).detach()", "no gradient reaches any of its parameters"),
        ("return super().forward(input, state).sigmoid_().mul_(2)", "RuntimeError: one of the variables needed for"),
        (f"{NEW}; return new.where(new > 9, (new * 0).abs().sqrt())", "the gradient of weight_ih has NaN"),
    ],
)
def test_what_works_in_inference_and_breaks_in_training_is_found_where_it_is_trained(
    tmp_path: Path, body: str, words: str
) -> None:
    message = fault(tmp_path, CLASS.format(base="RNNCell", body=body), phase="training")
    assert re.match(f"Mine works in inference and breaks in training: {words}", message), message
    measurement = observe(build(Case("mine.py:Mine", "loop", small.workload(reference="none")), tmp_path))
    assert measurement.works


def test_what_hoisted_calls_is_looked_at_too(tmp_path: Path) -> None:
    parts = "    def project(self, input): return input\n    def advance(self, projected, h): return projected\n"
    source = CLASS.format(base="RNNCell", body="return super().forward(input, state)") + parts
    assert fault(tmp_path, source, "hoisted") == "Mine: its new state is float64 (3, 5); expected float64 (3, 6)"


@pytest.mark.parametrize("reference", ["rnn", "lstm", "gru", "none"])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("where", ["torch.nn", "mine.py"])
def test_a_class_of_the_other_signature_is_told_apart(
    tmp_path: Path, reference: str, batch_size: int, where: str
) -> None:
    kind = "GRU" if reference == "none" else reference.upper()
    names = {"cell": f"{kind}Cell", "layer": kind}
    if where == "mine.py":
        names = {"cell": "Cell", "layer": "Layer"}
        source = f"{HEAD}class Cell(nn.{kind}Cell):\n    pass\nclass Layer(nn.{kind}):\n    pass\n"
        (tmp_path / "mine.py").write_text(source)
    workload = small.workload(reference=reference, batch_size=batch_size)
    layer, cell = names["layer"], names["cell"]
    with pytest.raises(
        CellError, match=rf'{layer} runs the whole.* "loop": give rnnbench run --sequence, or .* = "sequence"'
    ):
        observe(build(Case(f"{where}:{layer}", "loop", workload), tmp_path))
    with pytest.raises(
        CellError, match=rf'{cell} takes one step.* "sequence": give rnnbench run no --sequence, or .* = "loop"'
    ):
        observe(build(Case(f"{where}:{cell}", "sequence", workload), tmp_path))


INPUT = torch.randn(7, 3, 8, generator=torch.Generator().manual_seed(0)) * 2


@pytest.mark.parametrize(
    ("cell", "cause", "raised"),
    [
        (
            awkward.TimeSpan(8, 8),
            "it needs `ts`, which is not known to be a state",
            "TypeError: TimeSpan.forward() mis",
        ),
        (
            awkward.Frames(1, 8),
            "it has a Conv2d, so it reads frames: rnnbench run --input",
            "RuntimeError: Expected 3D",
        ),
        (awkward.Tokens(9, 8), "it has an Embedding, so it reads whole numbers", "RuntimeError: Expected tensor for"),
    ],
)
def test_a_refusal_names_the_likely_cause_and_the_last_exception(cell: nn.Module, cause: str, raised: str) -> None:
    with pytest.raises(ValueError, match="can't be called: ") as refused:
        rnnbench.unroll(cell)(INPUT)
    assert cause in str(refused.value)
    assert f"Its last exception: {raised}" in str(refused.value)


@pytest.mark.parametrize(
    ("cell", "how", "reference", "words"),
    [
        (
            "awkward.py:TimeSpan",
            "loop",
            "gru",
            "TimeSpan can't be called: it needs `ts`, .*: TypeError",
        ),
        ("awkward.py:TokenLayer", "sequence", "none", r"rnnbench run --input tokens:100\. Its last exception: "),
    ],
)
def test_a_run_refuses_with_the_same_words(cell: str, how: Any, reference: Any, words: str) -> None:
    with pytest.raises(CellError, match=words):
        observe(build(Case(cell, how, small.workload(reference=reference)), Path(__file__).parent))


SIZES = {"input_size": 3, "hidden_size": 5, "output_size": 7, "batch_size": 11}


class Kept(nn.Module):
    """Keeps what it is built with."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__()
        self.given, self.named = given, named


def usual(input_size: int, hidden_size: int) -> nn.Module:
    return Kept(input_size, hidden_size)


def unnamed(a: int, b: int, c: int = 0) -> nn.Module:
    return Kept(a, b, c)


def turned(hidden_dim: int, input_dim: int) -> nn.Module:
    return Kept(input=input_dim, hidden=hidden_dim)


def keywords(*, units: int, in_features: int, num_classes: int, batch_size: int) -> nn.Module:
    return Kept(units, in_features, num_classes, batch_size)


def with_output(input_size: int, hidden_size: int, output_size: int | None = None) -> nn.Module:
    return Kept(input_size, hidden_size, output_size)


def one_unnamed_size(width: int, bias: bool = True) -> nn.Module:
    return Kept(width, bias)


def one_size(units: int, theta: float) -> nn.Module:
    return Kept(units, theta)


def spiking(beta: float, threshold: float = 1.0, p: object = (1,), steps: int = 6) -> nn.Module:
    return Kept(beta, threshold, p, steps)


def two_decays(alpha: float, beta: float) -> nn.Module:
    return Kept(alpha, beta)


def solved(n_in: int, n_out: int, ode_unfolds: int = 6) -> nn.Module:
    return Kept(n_in, n_out, ode_unfolds)


def nothing() -> nn.Module:
    return Kept()


@pytest.mark.parametrize(
    ("factory", "arguments", "given", "named"),
    [
        (usual, {}, (3, 5), {}),
        (unnamed, {}, (3, 5, 0), {}),
        (unnamed, {"c": 4}, (3, 5, 4), {}),
        (unnamed, {"b": 9}, (3, 9, 0), {}),
        (turned, {}, (), {"input": 3, "hidden": 5}),
        (keywords, {}, (5, 3, 7, 11), {}),
        (with_output, {}, (3, 5, None), {}),  # a default stays
        (one_size, {"theta": 0.5}, (5, 0.5), {}),
        (one_unnamed_size, {}, (3, True), {}),
        (nothing, {}, (), {}),
        (spiking, {"beta": 0.9}, (0.9, 1.0, (1,), 6), {}),
        (solved, {}, (3, 5, 6), {}),
        (Kept, {"theta": 2}, (3, 5), {"theta": 2}),
    ],
)
def test_sizes_go_where_their_names_say(
    factory: Callable[..., nn.Module], arguments: dict[str, Any], given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    built = construct(factory, SIZES, arguments)
    assert isinstance(built, Kept)
    assert (built.given, built.named) == (given, named)


@pytest.mark.parametrize(
    ("factory", "arguments", "words"),
    [
        (usual, {"theta": 1, "mode": "a"}, "usual(input_size: int, hidden_size: int) -> "),
        (usual, {"theta": 1, "mode": "a"}, "got an unexpected keyword argument 'theta'; take it out of `arguments`"),
        (
            one_size,
            {},
            "missing a required argument: 'theta'; give what it needs with its name, 'one_size(theta=VALUE)', or in",
        ),
        (
            two_decays,
            {},
            "'two_decays(alpha=VALUE,beta=VALUE)', or in the sweep, arguments = {alpha = VALUE, beta = VALUE}",
        ),
        (spiking, {}, "missing a required argument: 'beta'"),
        (len, {}, "can't be"),
        (lambda input_size, hidden_size: 3, {}, "builds int; expected a torch.nn.Module"),
    ],
)
def test_what_does_not_fit_is_told(factory: Any, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(CellError) as raised:
        construct(factory, SIZES, arguments)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "name", ["beta", "alpha", "p", "ode_unfolds", "dropout", "hidden_dropout", "num_layers", "mode"]
)
def test_an_argument_that_is_not_named_like_a_size_is_none(name: str) -> None:
    assert not is_size(name)


@pytest.mark.parametrize("name", ["n_in", "nhid", "ninp", "d_model", "width", "size", "inputs", "hidden", "in_ch", "a"])
def test_an_argument_may_be_a_size_by_many_names(name: str) -> None:
    assert is_size(name)


def test_the_call_that_builds_a_cell_is_shown_with_the_sizes_that_were_given() -> None:
    assert constructor_call(solved, SIZES, {}) == "solved(n_in=3, n_out=5)"
    assert constructor_call(spiking, SIZES, {"beta": 0.9}) == "spiking(beta=0.9)"
    assert constructor_call(nn.LSTM, SIZES, {"bias": False}) == "LSTM(3, 5, bias=False)"


def test_a_case_of_a_users_own_class_says_by_which_call_it_was_built() -> None:
    own = Case("awkward.py:Other(theta=2)", "loop", small.workload(reference="none"))
    assert built_by(own, Path(__file__).parent) == "Other(units=6, in_features=5, theta=2)"
    assert built_by(small.case("gru"), Path()) == ""


@pytest.mark.parametrize("is_in_use", [False, True])
def test_seeding_asks_no_driver_and_seeds_cuda_only_if_it_is_in_use(
    monkeypatch: pytest.MonkeyPatch, *, is_in_use: bool
) -> None:
    """After `is_available`, a process with CUDA can't be forked."""

    def asks_driver() -> bool:
        raise AssertionError("the driver is asked")

    seeds: list[int] = []
    with torch.random.fork_rng(devices=[]):
        seed(5)
        expected = torch.rand(3)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: is_in_use)
        monkeypatch.setattr(torch.cuda, "is_available", asks_driver)
        monkeypatch.setattr(torch, "manual_seed", seeds.append)
        seed(5)
        assert is_in_use or torch.equal(torch.rand(3), expected)
    assert seeds == ([5] if is_in_use else [])

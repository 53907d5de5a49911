"""torch.compile: pieces of long sequences, what compiling costs, and nothing left behind."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench.cells.gru import GRUCell
from rnnbench.workloads import compiled
from rnnbench.workloads.implementations import SequenceOptions, Skip, eager, feed_back
from rnnbench.workloads.model import Cells
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from tests.doubles import workload as small


def watched(lengths: list[int], function: Any) -> Any:
    """A function that notes the number of steps of each piece that it gets. Nothing is compiled here."""

    def run(first: Any, second: Any, *rest: Any) -> Any:
        lengths.append(len(second) if function is eager else rest[-1])
        return function(first, second, *rest)

    return run


@pytest.mark.parametrize(("steps", "expected"), [(12, [10]), (10, [10]), (5, [5, 5]), (4, [4, 4, 2]), (1, [1] * 10)])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_long_sequence_runs_in_pieces_with_the_same_result(steps: int, expected: Any, reverse: bool) -> None:
    pieces: list[int] = []
    cell, input, h = GRUCell(3, 5), torch.randn(10, 2, 3), torch.randn(2, 5)
    options = SequenceOptions(reverse=reverse, mask=torch.rand(10, 2, 1) < 0.7)
    result = compiled.in_pieces(steps, watched(pieces, eager))(cell, input, h, options)
    torch.testing.assert_close(result, eager(cell, input, h, options))
    assert sorted(pieces, reverse=True) == expected


@pytest.mark.slow
@pytest.mark.weekly
@pytest.mark.usefixtures("one_thread", "quick_compiler")
def test_all_pieces_share_one_compiled_graph() -> None:
    from torch._dynamo.utils import counters

    torch.manual_seed(0)
    cell, input, h = GRUCell(3, 5), torch.randn(6, 2, 3), torch.randn(2, 5)
    expected = eager(cell, input, h, SequenceOptions())
    graphs_before = counters["stats"]["unique_graphs"]
    result = compiled.in_pieces(2, compiled.compiled(eager, "compiled"))(cell, input, h, SequenceOptions())
    torch.testing.assert_close(result, expected)
    assert counters["stats"]["unique_graphs"] == graphs_before + 1
    assert not h.requires_grad
    of = [torch.autograd.grad(outputs.square().sum(), tuple(cell.parameters())) for outputs, _ in (result, expected)]
    torch.testing.assert_close(*of)


@pytest.mark.parametrize(("steps", "expected"), [(9, [7]), (3, [3, 3, 1])])
def test_a_long_feedback_runs_in_pieces_with_the_same_result(steps: int, expected: list[int]) -> None:
    pieces: list[int] = []
    body, head = Cells([GRUCell(3, 5)], eager), torch.nn.Linear(5, 3)
    start, h = torch.randn(2, 3), torch.randn(2, 5)
    result = compiled.feed_back_in_pieces(steps, watched(pieces, feed_back))(body, head, start, h, 7)
    torch.testing.assert_close(result, feed_back(body, head, start, h, 7))
    assert pieces == expected


@pytest.mark.usefixtures("quick_compiler")
def test_a_compiled_case_agrees_has_the_products_of_the_loop_and_says_what_compiling_took() -> None:
    case = small.case("gru", "compiled", phase="training", seq_len=2, dtype="float32")
    measurement = observe(build(case, Path()))
    looped = observe(build(replace(case, implementation="loop"), Path())).metrics
    compiled.forget()
    again = compiled.cost(build(case, Path()).timed_call())
    assert str(measurement.parity) == "agrees"
    assert measurement.backend == "inductor"
    assert measurement.metrics["macs"] == looped["macs"]
    assert measurement.metrics["operators"] < looped["operators"]
    assert measurement.metrics["graph_breaks"] == 0
    assert measurement.metrics["compile_seconds"] > 0
    assert again.missing == {"compile_seconds": "not compiled anew: torch found it in its cache"}


@pytest.fixture
def _untried() -> Iterator[None]:
    """Forget which devices were tried, before the test and after it."""
    compiled.why_not.cache_clear()
    from torch._inductor.utils import fresh_cache

    with fresh_cache():
        yield
    compiled.why_not.cache_clear()
    compiled.forget()


@pytest.mark.usefixtures("_untried")
def test_without_a_compiler_a_compiled_case_is_skipped_with_the_reason() -> None:
    # By torch's own `patch`: pytest's monkeypatch would leave the setting without a value.
    no_compiler = torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)})
    with no_compiler, pytest.raises(Skip, match=r"torch.compile does not work on cpu: .*install a C\+\+ compiler"):
        observe(build(small.case("gru", "compiled", seq_len=2, dtype="float32"), Path()))


@pytest.mark.usefixtures("_untried")
@pytest.mark.parametrize(("switch", "is_disabled"), [("TORCH_COMPILE_DISABLE", True), ("TORCHDYNAMO_DISABLE", False)])
def test_a_compiled_case_is_skipped_where_the_shell_switches_compiling_off(
    monkeypatch: pytest.MonkeyPatch, switch: str, is_disabled: bool
) -> None:
    monkeypatch.setenv(switch, "1")
    # Torch reads the first variable when it is imported, and the other at each compilation.
    with (
        torch._dynamo.config.patch(disable=is_disabled),
        pytest.raises(Skip, match="switched off: unset TORCH_COMPILE_DISABLE"),
    ):
        observe(build(small.case("gru", "compiled", seq_len=2, dtype="float32"), Path()))


@pytest.mark.usefixtures("_untried")
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "CppCompileError: C++ compile error\n\nOutput:\nx.h:1:9: fatal error: Python.h: No file",
            "Python.h: No",
        ),
        ("ImportError: /tmp/a/b.main.so: file too short", "/tmp/a/b.main.so from its cache, which is damaged: remove"),
        ("Cannot find a working triton installation.", "on cpu: Cannot find a working triton installation; install"),
    ],
)
def test_a_compiler_is_tried_once_and_its_own_words_are_told(monkeypatch, message: str, expected: str) -> None:
    tried: list[Any] = []

    def broken(function: Any, implementation: str) -> Any:
        tried.append(function)
        raise RuntimeError(message)

    monkeypatch.setattr(compiled, "compiled", broken)
    reasons = {compiled.why_not("cpu") for _ in range(5)}
    assert len(tried) == 1
    assert expected in reasons.pop()
    assert not reasons


def test_what_is_tuned_for_a_processor_is_used_there_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    patches: list[Any] = []
    monkeypatch.setattr(
        "torch._inductor.compile_fx.compile_fx", lambda *_, config_patches: patches.append(config_patches)
    )
    backend = compiled.inductor("passes")
    for device in ("cpu", "meta"):
        backend(None, [torch.zeros(2, device=device), 3])
    on_cpu, elsewhere = patches
    assert on_cpu["cpp_wrapper"]
    assert on_cpu["post_grad_custom_pre_pass"] == "passes"
    assert elsewhere is None
    known = [*compiled.COMPILER_OPTIONS, "post_grad_custom_pre_pass"]
    monkeypatch.setattr(torch._inductor, "list_options", lambda: known)
    compiled.inductor("passes")(None, [torch.zeros(2)])  # of torch 2.8
    assert patches[-1].keys() == set(known)


@pytest.mark.parametrize(("device", "is_turned"), [("cpu", True), ("meta", False)])
def test_weights_of_compiled_inference_are_turned_on_a_processor_alone(device: str, is_turned: bool) -> None:
    body = build(small.case("gru", "compiled", device=device), Path()).model.body
    assert {weight.is_contiguous() for weight in body.parameters() if weight.dim() == 2} == {not is_turned}

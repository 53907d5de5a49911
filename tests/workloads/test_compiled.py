"""torch.compile: pieces of long sequences, what compiling costs, and nothing left behind."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._inductor.utils import fresh_cache

from rnnbench.cells.gru import GRUCell
from rnnbench.workloads import compiled
from rnnbench.workloads.bodies import Cells
from rnnbench.workloads.implementations import Way, eager
from rnnbench.workloads.observe import observe
from rnnbench.workloads.prepare import build
from rnnbench.workloads.tasks import feed_back
from tests import workload as small


@pytest.fixture
def pieces(monkeypatch) -> list[int]:
    """The steps of each piece that is given to a compiled function, which here is the function itself."""
    given: list[int] = []

    def watched(function: Any) -> Any:
        def run(first: Any, second: Any, *rest: Any) -> Any:
            given.append(len(second) if function is eager else rest[-1])
            return function(first, second, *rest)

        return run

    monkeypatch.setattr(compiled, "_compiled", watched)
    return given


@pytest.mark.parametrize(("steps", "expected"), [(12, [10]), (10, [10]), (5, [5, 5]), (4, [4, 4, 2]), (1, [1] * 10)])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_long_sequence_runs_in_pieces_with_the_same_result(pieces, steps: int, expected: Any, reverse: bool) -> None:
    cell, input, h = GRUCell(3, 5), torch.randn(10, 2, 3), torch.randn(2, 5)
    way = Way(reverse=reverse, mask=torch.rand(10, 2, 1) < 0.7)
    found = compiled.CompiledRun(steps)(cell, input, h, way)
    torch.testing.assert_close(found, eager(cell, input, h, way))
    assert sorted(pieces, reverse=True) == expected


@pytest.mark.parametrize(("steps", "expected"), [(9, [7]), (3, [3, 3, 1])])
def test_a_long_feedback_runs_in_pieces_with_the_same_result(pieces, steps: int, expected: list[int]) -> None:
    body, head = Cells([GRUCell(3, 5)], eager), torch.nn.Linear(5, 3)
    start, h = torch.randn(2, 3), torch.randn(2, 5)
    found = compiled.CompiledFeedBack(steps)(body, head, start, h, 7)
    torch.testing.assert_close(found, feed_back(body, head, start, h, 7))
    assert pieces == expected


def test_a_compiled_case_agrees_and_says_what_compiling_took(monkeypatch) -> None:
    monkeypatch.setattr(torch._inductor.config, "cpp_cache_precompile_headers", False)  # ten seconds, for one case
    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)
    case = small.case("gru", "compiled", phase="training", seq_len=2, dtype="float32")
    with fresh_cache():
        found = observe(build(case, Path()))
        compiled.forget()
        again = compiled.cost(build(case, Path()).timed_call())
        compiled.forget()
    assert found.parity == "agrees"
    assert found.backend == "inductor"
    assert found.metrics["graph_breaks"] == 0
    assert found.metrics["compile_seconds"] > 0
    assert again.missing == {"compile_seconds": "not compiled anew: torch found it in its cache"}

"""The kind of failure of each exception."""

import pytest
import torch

from rnnbench.cells import CellError, CellMissing
from rnnbench.harness.worker import failure
from rnnbench.workloads.referee.agreement import ParityError


def raised(error: Exception, cause: Exception | None) -> Exception:
    try:
        raise error from cause
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    "missing", [CellMissing("no class"), ModuleNotFoundError("x"), SyntaxError("x"), FileNotFoundError("x"), OSError()]
)
def test_what_is_missing_is_a_failure_to_load_also_where_another_error_tells_of_it(missing: Exception) -> None:
    assert failure.kind(missing) == "loading"
    assert failure.kind(raised(CellError("it breaks in training"), missing)) == "loading"


def test_what_is_missing_shows_also_where_it_was_caught_and_something_else_was_raised() -> None:
    def fall_back() -> None:
        try:
            raise ImportError("no fast kernel")
        except ImportError:
            raise ValueError("no kernel at all") from None

    with pytest.raises(ValueError, match="no kernel at all") as caught:
        fall_back()
    assert failure.kind(caught.value) == "loading"


@pytest.mark.parametrize("fault", [ValueError(), CellError("NaN"), ParityError("off"), MemoryError(), RuntimeError()])
def test_anything_else_is_the_cases_own_fault(fault: Exception) -> None:
    assert failure.kind(fault) == "running"
    assert failure.kind(raised(fault, KeyError("x"))) == "running"


def test_the_error_within_a_scripted_module_is_shown() -> None:
    @torch.jit.script
    def scripted(h: torch.Tensor) -> torch.Tensor:
        assert bool(h.sum() > 1), "too small"
        return h

    with pytest.raises(torch.jit.Error) as raised:
        scripted(torch.zeros(1))
    assert "too small" in failure.reason(raised.value)

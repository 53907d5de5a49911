"""The program that compares the instruments with others, as far as it runs without a GPU."""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rnnbench.store.readings import Unavailable
from tests.doubles import workload as small
from tests.doubles.fake_cuda import FakeCuda, FakeLine, cold_kernels
from tests.gpu import clock, truth
from tests.gpu.cases import PURE, axes, implementations
from tests.gpu.launches import is_right
from tests.gpu.row import Row


def rows(*holding: bool | None, then: str = "") -> Callable[[str], Iterator[Row]]:
    def check(device: str) -> Iterator[Row]:
        yield from ({"what": number, "holds": holds} for number, holds in enumerate(holding))
        if then:
            raise Unavailable(then)

    return check


@pytest.mark.parametrize(
    ("holding", "code"), [((True, True), 0), ((True, None), 0), ((True, False), 1), ((None, False), 1), ((), 0)]
)
def test_only_what_must_hold_and_does_not_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], holding: tuple[bool | None, ...], code: int
) -> None:
    monkeypatch.setattr(truth, "CHECKS", {"one": rows(*holding, then="no counter")})
    assert truth.main("cpu", ["one"]) == code
    output = capsys.readouterr().out
    assert "not all was checked: no counter" in output
    assert ("off: one" in output) == bool(code)


def test_a_device_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert truth.main("cuda:77", list(truth.CHECKS)) == 1
    assert "cuda" in capsys.readouterr().out.lower()


def test_the_cases_are_large_on_a_gpu_and_small_on_a_cpu() -> None:
    assert (axes("cuda", 1024)["seq_len"], axes("cuda", 1024)["hidden_size"]) == (1024, 512)
    assert axes("cpu", 1024)["seq_len"] == 16
    assert implementations("cuda:1", *PURE) == ["torch.nn", "cudagraph"]
    assert implementations("cpu", *PURE) == ["torch.nn"]


@pytest.mark.parametrize(
    ("is_bound", "busy", "right"),
    [(True, 0.3, True), (True, 0.95, False), (True, 0.0, False), (False, 0.9, True), (False, 0.2, False)],
)
def test_a_device_that_is_busy_is_not_kept_waiting(is_bound: bool, busy: float, right: bool) -> None:
    assert is_right(is_bound, busy) == right


def test_do_bench_does_as_warm_and_as_cold_windows_do(monkeypatch: pytest.MonkeyPatch) -> None:
    line = FakeLine()
    driver = SimpleNamespace(active=SimpleNamespace(clear_cache=lambda cache: line.flush()))

    def do_bench(call: Callable[[], object], return_mode: str) -> float:
        """Like triton's: a flush and two events for each call, with one wait at the end."""
        call()
        marks = [(line.mark(), line.mark()) for _ in range(20)]
        for before, after in marks:
            before.record()
            after.record()
        for before, after in marks:
            driver.active.clear_cache(None)
            before.record()
            call()
            after.record()
        line.synchronize()
        return sorted(before.elapsed_time(after) for before, after in marks)[10]

    for name, content in {"testing": {"do_bench": do_bench}, "runtime": {"driver": driver}}.items():
        module: Any = ModuleType(f"triton.{name}")
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, f"triton.{name}", module)
    monkeypatch.setitem(sys.modules, "triton", ModuleType("triton"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    work = cold_kernels(line, 10, 5e-6, 20e-6)
    case = small.case("gru", device="cuda")
    _, warm, cold = clock._tools(case, FakeCuda(line), work)
    assert warm.seconds() == pytest.approx(200e-6)
    assert line.flushes == 0
    assert cold.seconds() == pytest.approx(400e-6)
    assert line.flushes == 20

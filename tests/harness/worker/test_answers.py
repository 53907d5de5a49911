"""Requests and replies of a worker, in this process."""

import gc
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import rnnbench.profiling.in_worker  # noqa: F401 - as the start of a profiler's worker names it
from rnnbench.cells import CellMissing, load
from rnnbench.harness import devices
from rnnbench.harness.devices import Cpu
from rnnbench.harness.machine import global_state
from rnnbench.harness.protocol import Building
from rnnbench.harness.turns.schedule import Turns
from rnnbench.harness.worker.answers import answer, failed_imports, failure_reason
from rnnbench.harness.worker.state import WorkerState
from rnnbench.store.metrics import Readings
from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.fake_card import MEGABYTE, FakeCard
from tests.doubles.unable import REASON, cell_file
from tests.doubles.visits import TURNS, visit, worker_here
from tests.workloads.test_data import forks


def prepare(worker: WorkerState, case: Case, root: object = ".", call_seconds: float | None = None) -> dict[str, Any]:
    return answer(
        worker, Building(str(root), 64).request("prepare", case, window_seconds=0.002, call_seconds=call_seconds)
    )


def take_turns(worker: WorkerState, case: Case, turns: Turns = TURNS) -> dict[str, Any]:
    return answer(worker, visit(case, turns=turns))


def observe(worker: WorkerState, case: Case, root: object = ".") -> dict[str, Any]:
    return answer(worker, Building(str(root), 64).request("observe", case))


def test_a_case_is_observed_without_being_kept() -> None:
    worker, case = worker_here(), small.case("gru")
    measurement = observe(worker, case)["measurement"]
    assert measurement["parity"] == {"kind": "agrees"}
    assert measurement["status"] == "pending"
    assert measurement["resident_bytes"] >= 0
    assert not take_turns(worker, case)["ok"]


LOADING: dict[str, Any] = {"reference": "windows", "phase": "loading", "samples": 8, "workers": 1}


@pytest.mark.parametrize(
    ("case", "status", "reason"),
    [
        (small.case("combined", "hoisted"), "skipped", "nothing to hoist"),
        (small.case("gru", device="tpu"), "skipped", "no device 'tpu'"),
        (small.case("gru", dtype="tf32"), "skipped", "tf32 is a way of CUDA's matrix units"),
        (small.case("gru", threads=4096), "skipped", "threads=4096, but"),
        (Case("windows", "per_item", small.workload(**LOADING | {"workers": 4096})), "skipped", "workers=4096, but"),
        (small.case("gru", batch_size=10**9, hidden_size=10**6), "skipped", "the case needs at least 40,0"),
    ],
)
def test_a_case_that_can_not_be_prepared_says_why(case: Case, status: str, reason: str) -> None:
    reply = prepare(worker_here(), case)
    assert (reply["ok"], reply["status"]) == (False, status)
    assert reply["reason"].startswith(reason)


def test_a_case_of_a_newer_rnnbench_is_refused() -> None:
    request = Building(".", 64).request("observe", small.case("gru"))
    assert answer(worker_here(), request | {"case": request["case"] | {"quantum": 1}})["reason"].endswith(
        "axis quantum"
    )


def test_what_a_data_set_runs_is_a_doubt_and_the_worker_goes_on_to_the_next_case() -> None:
    case = Case("windows", "per_item", small.workload(**LOADING))
    reply = answer(worker_here(), Building(".", 64).request("reach", case, tree="."))
    assert reply["ok"]
    assert reply["doubts"]


CELL = """
import torch
from torch import nn
class Mine(nn.RNNCell):
    def forward(self, input, h):
        {body}
"""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise RuntimeError('on purpose\\nsecond line')", "RuntimeError: on purpose (mine.py:6)"),
        ("return h.view(7)", "RuntimeError: shape '[7]' is invalid for input of size"),
        ("return 1 / 0", "ZeroDivisionError: division by zero (mine.py:6)"),
        ("raise NotImplementedError", "NotImplementedError (mine.py:6)"),
        ("raise SystemExit(0)", "the cell called sys.exit(0) (mine.py:6)"),
        ("import sys; sys.exit('no GPU')", "the cell called sys.exit(no GPU) (mine.py:6)"),
        ("raise KeyboardInterrupt", "the cell raised KeyboardInterrupt (mine.py:6)"),
        (
            "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})",
            "Mute: its message can't be shown, since its __str__ raises ZeroDivisionError (mine.py:6)",
        ),
        ("raise torch.OutOfMemoryError('CUDA out of memory. Tried ...')", "out of memory: CUDA out of memory."),
        (
            "raise torch.AcceleratorError('CUDA error: out of memory\\nmore')",
            "out of memory: CUDA error: out of memory (mine",
        ),
        ("raise RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED')", "out of memory: cuDNN error"),
        (
            "raise torch.AcceleratorError('CUDA error: an illegal memory access\\nmore')",
            "AcceleratorError: CUDA error: an illegal memory access (mine.py:6)",
        ),
    ],
)
def test_what_a_users_cell_or_its_gpu_raises_is_told_in_a_line(tmp_path, body: str, reason: str) -> None:
    (tmp_path / "mine.py").write_text(CELL.format(body=body))
    reply = prepare(worker_here(), Case("mine.py:Mine", "loop", small.workload(dtype="float32")), tmp_path)
    assert reply["status"] == "failed"
    assert reply["reason"].startswith(reason)


def test_a_case_that_changes_what_can_not_be_put_back_fails(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = global_state.TORCH["anomaly mode"]._replace(write=lambda value: None)
    monkeypatch.setitem(global_state.TORCH, "anomaly mode", stuck)
    body = "torch.set_anomaly_enabled(True); return super().forward(input, h)"
    (tmp_path / "mine.py").write_text(CELL.format(body=body))
    try:
        reply = prepare(worker_here(), Case("mine.py:Mine", "loop", small.workload(dtype="float32")), tmp_path)
    finally:
        torch.set_anomaly_enabled(False)
    assert reply["status"] == "failed"
    assert reply["reason"] == "the call changes anomaly mode, which rnnbench can't restore; restore it within the call"


class Breakable(Cpu):
    """A device on which an illegal access in a probe makes every later use fail."""

    broken = False

    def memory(self, timed: object) -> Readings:
        Breakable.broken = True
        raise RuntimeError(ILLEGAL)

    def synchronize(self) -> None:
        if Breakable.broken:
            raise RuntimeError(ILLEGAL)


ILLEGAL = "CUDA error: an illegal memory access was encountered"


def test_a_probe_that_breaks_the_device_fails_its_case_so_that_the_worker_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "BACKENDS", {"cpu": Breakable})
    reply = observe(worker_here(), small.case("gru"))
    assert (reply["ok"], reply["status"]) == (False, "failed")
    assert reply["reason"].startswith(f"RuntimeError: {ILLEGAL}")


CELL_FILE = """
from torch import nn
{top}
class Mine(nn.GRUCell):
    def forward(self, input, h):
        {forward}
        return super().forward(input, h)
"""


@pytest.mark.parametrize(
    ("top", "forward", "failure"),
    [
        ("class Mine(", "", "loading"),
        ("import nowhere_to_be_found", "", "loading"),
        ("1 / 0", "", "loading"),
        ("", "import nowhere_to_be_found", "loading"),
        ("", "open('nowhere/to/be/found')", "loading"),
        ("", "1 / 0", "running"),
        ("", "h = h + 1", "running"),
    ],
)
def test_a_failed_case_tells_whether_it_could_be_loaded(tmp_path, top: str, forward: str, failure: str) -> None:
    (tmp_path / "mine.py").write_text(CELL_FILE.format(top=top, forward=forward))
    case = replace(small.case("gru", reference="gru"), cell="mine.py:Mine")
    for ask in (observe, prepare) if forward != "h = h + 1" else (observe,):  # parity is checked in `observe` only
        reply = ask(worker_here(), case, tmp_path)
        assert (reply["ok"], reply["status"], reply["failure"]) == (False, "failed", failure), reply


def test_what_a_case_imported_is_told_once_whether_it_works_or_not(tmp_path) -> None:
    worker = worker_here()
    (tmp_path / "broken.py").write_text(CELL_FILE.format(top="", forward="1 / 0"))
    case = replace(small.case("gru", reference="gru"), cell="broken.py:Mine")
    first, second = (set(observe(worker, case, tmp_path)["imported"].values()) for _ in range(2))
    assert str(tmp_path / "broken.py") in first
    assert second == set()


LOUD = """
import gc, warnings
from torch import nn
warnings.simplefilter("ignore")
gc.set_threshold(1, 1, 1)
class Mine(nn.RNNCell): pass
"""


def test_the_cores_that_the_coordinator_has_chosen_are_kept_and_what_an_import_changes(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(LOUD)
    worker, cores, filters = worker_here(), os.sched_getaffinity(0), list(warnings.filters)
    chosen = {min(cores)}
    try:
        os.sched_setaffinity(0, chosen)
        assert answer(worker, Building(str(tmp_path), 64).imports(["mine.py:Mine"], str(tmp_path)))["ok"]
        assert os.sched_getaffinity(0) == chosen
        assert list(warnings.filters) != filters
        assert gc.get_threshold() != (1, 1, 1)
    finally:
        os.sched_setaffinity(0, cores)
        warnings.filters[:] = filters  # type: ignore[index]


CHOOSY = """
import torch
from torch import nn
torch.set_float32_matmul_precision("medium")
class Mine(nn.RNNCell):
    def forward(self, input, h):
        assert torch.get_float32_matmul_precision() == "highest"
        return super().forward(input, h)
"""


def test_what_a_case_changes_in_its_turn_is_put_back_before_the_turn_of_the_next(tmp_path) -> None:
    bodies = {
        "Changes": "import os; os.chdir('/'); torch.set_anomaly_enabled(True); return super().forward(input, h)",
        "Honest": "import os; assert (os.getcwd() == '/', torch.is_anomaly_enabled()) == (False, False); "
        "return super().forward(input, h)",
    }
    worker, cases = worker_here(), []
    for name, body in bodies.items():
        (tmp_path / f"{name}.py").write_text(CELL.format(body=body))
        cases.append(Case(f"{name}.py:Mine", "loop", small.workload()))
        assert prepare(worker, cases[-1], tmp_path)["ok"]
    assert answer(worker, visit(*cases))["ok"]


def test_what_a_users_file_sets_when_it_is_imported_does_not_hold_for_its_first_call(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(CHOOSY)
    before = global_state.capture()
    try:
        reply = observe(worker_here(), Case("mine.py:Mine", "loop", small.workload()), tmp_path)
        assert reply["measurement"]["parity"] == {"kind": "agrees"}
    finally:
        global_state.restore(before)


@forks
def test_processes_that_load_start_with_their_case_and_end_on_release() -> None:
    worker, case = worker_here(), Case("windows", "per_item", small.workload(**LOADING))
    before = set(psutil.Process().children())
    reply = prepare(worker, case)
    assert reply["ok"], reply
    [loader] = set(psutil.Process().children()) - before
    assert take_turns(worker, case)["ok"]
    answer(worker, {"op": "release"})
    gone, _ = psutil.wait_procs([loader], timeout=5)
    assert gone


def test_the_error_within_a_scripted_module_is_shown() -> None:
    @torch.jit.script
    def scripted(h: torch.Tensor) -> torch.Tensor:
        assert bool(h.sum() > 1), "too small"
        return h

    with pytest.raises(torch.jit.Error) as raised:
        scripted(torch.zeros(1))
    assert "too small" in failure_reason(raised.value)


POOL = 1000 * MEGABYTE


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCard]:
    """A card whose memory a worker may hold from case to case; garbage collection is off, as in a worker."""
    fake = FakeCard(POOL)
    fake.install(monkeypatch)
    gc.collect()
    gc.disable()
    yield fake
    gc.enable()
    gc.unfreeze()
    gc.collect()
    gc.freeze()  # as before: later collections need not walk through all modules


def test_recordings_of_five_observed_cases_are_freed_each_before_the_next(card: FakeCard) -> None:
    worker = worker_here()
    for size in range(1, 6):
        reply = observe(worker, small.case("gru", "cudagraph", hidden_size=size, phase="training"))
        assert reply["ok"], reply
        assert card.reserved() == 0
    assert card.recordings == 2 * 5  # forward and backward


def test_prepared_cases_keep_their_recordings_until_the_group_is_released(card: FakeCard) -> None:
    worker = worker_here()
    for _ in range(5):
        for size in (1, 2, 3):
            assert prepare(worker, small.case("gru", "cudagraph", hidden_size=size), call_seconds=1e-3)["ok"]
        assert card.reserved() >= 3 * POOL
        assert answer(worker, {"op": "release"})["ok"]
        assert card.reserved() == 0


def test_the_memory_of_a_recorded_case_is_its_pool(card: FakeCard) -> None:
    measurement = observe(worker_here(), small.case("gru", "cudagraph"))["measurement"]
    assert card.recordings == 1  # however often it was called
    assert measurement["reserved_bytes"] == POOL
    eager = observe(worker_here(), small.case("gru"))["measurement"]
    assert eager["reserved_bytes"] == 0


@pytest.mark.parametrize(
    ("op", "more"),
    [
        ("observe", {}),
        ("prepare", {"window_seconds": 0.002, "call_seconds": None}),
        ("count", {"counter": "callgrind"}),
        ("profile", {"window_seconds": 0.002, "seconds": 1.0, "folder": "."}),
    ],
)
def test_a_case_that_this_processor_can_not_run_is_skipped_and_the_worker_goes_on(
    op: Any, more: dict[str, Any], tmp_path: Path
) -> None:
    worker, given = worker_here(), small.workload(reference="lstm", dtype="float32")
    case = Case(cell_file(tmp_path), "sequence", given)
    reply = answer(worker, Building(str(tmp_path), 64).request(op, case, **more))
    assert (reply["ok"], reply["status"]) == (False, "skipped")
    assert reply["reason"].startswith(REASON)
    assert prepare(worker, small.case("lstm"))["ok"]


@pytest.mark.parametrize(
    ("error", "arose", "lacks"),
    [
        ("import nothing_of_this_name", ["mine.py"], ["nothing_of_this_name"]),
        ("from os import nothing_of_this_name", ["mine.py", "os.py"], []),
        ("class Mine(:", ["mine.py"], []),
        ("1 / 0", ["mine.py"], []),
    ],
)
def test_where_a_failed_import_arose_is_told(tmp_path: Path, error: str, arose: list[str], lacks: list[str]) -> None:
    (tmp_path / "mine.py").write_text(error)
    with pytest.raises(CellMissing) as raised:
        load("mine.py:Mine", tmp_path)
    fields = failed_imports(raised.value)
    assert [Path(file).name for file in fields["arose_in"] if file != __file__] == arose
    assert fields["lacks"] == lacks
    assert fields["is_lack"] == ("import" in error)

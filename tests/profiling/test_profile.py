"""Profiles of real cells with a real clock; no test judges a time."""

import gzip
import json
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity

from rnnbench.harness.devices import Cpu
from rnnbench.harness.devices.cuda import NO_KERNELS
from rnnbench.harness.live.live_cases import LiveCase
from rnnbench.profiling.breakdown import breakdown, in_one_piece
from rnnbench.profiling.profile import MAX_ROUND_FACTOR, file_name, kernels, profile
from rnnbench.profiling.profiled_call import hidden, of_built, of_live
from rnnbench.store.profiles import Profile
from rnnbench.store.records import Phase
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.phases import TimedCall
from rnnbench.workloads.prepare import Built, build
from tests.doubles import workload as small

pytestmark = pytest.mark.usefixtures("one_thread")


def profile_of(built: Built, folder: Path | None = None) -> Profile:
    return profile(of_built(built, Cpu()), folder, rounds=2, window_seconds=0.0005)


@pytest.mark.parametrize("phase", ["inference", "training", "step"])
def test_a_case_is_taken_apart_in_every_phase_and_left_as_it_was(phase: Phase, tmp_path: Path) -> None:
    built = build(small.case("gru", phase=phase), tmp_path)
    before = [parameter.detach().clone() for parameter in built.model.parameters()]
    taken = profile_of(built, tmp_path)
    assert taken.case == built.case.key
    assert taken.works
    assert taken.steps == 4
    parts = ["forward", "backward", "optimizer"][: {"inference": 1, "training": 2, "step": 3}[phase]]
    assert [part for part in parts if any(op.part == part for op in taken.operators)] == parts
    arms = {"call"} | ({"forward"} if phase != "inference" else set())
    arms |= {"forward_backward"} if phase == "step" else set()
    assert set(taken.times) == arms
    assert all(min(seconds) > 0 for seconds in taken.times.values())
    assert {len(seconds) for seconds in taken.times.values()} == {2}
    assert 2 <= len(taken.causes[0].seconds) <= 2 * MAX_ROUND_FACTOR
    trained = [] if phase == "inference" else ["weight gradients"]
    assert [cause.kind for cause in taken.causes] == ["not hoisted", *trained]
    assert taken.products is not None
    assert taken.products.library in taken.products.seconds
    assert {len(seconds) for seconds in taken.products.seconds.values()} == {2}
    assert "linear (gru.py:" in taken.causes[0].what
    with gzip.open(tmp_path / taken.files["trace"], "rt") as packed:
        names = {event["name"] for event in json.load(packed)["traceEvents"]}
    assert "aten::addmm" in names
    assert any("gru.py(" in name for name in names)  # the lines of Python
    assert all(map(torch.equal, before, built.model.parameters()))
    assert all(parameter.grad is None for parameter in built.model.parameters()) or phase != "inference"


@pytest.mark.parametrize("seconds", [0.02, 0.1])
def test_a_profile_that_its_time_cuts_short_has_equally_many_rounds_of_each_part(
    tmp_path: Path, seconds: float
) -> None:
    subject = of_built(build(small.case("gru", phase="training"), tmp_path), Cpu())
    taken = profile(subject, rounds=20, window_seconds=0.0005, seconds=seconds)
    assert Profile.from_json(json.loads(json.dumps(taken.to_json()))).works


def test_a_fused_layer_is_one_operator_and_has_no_causes(tmp_path: Path) -> None:
    taken = profile_of(build(small.reference_case("lstm", dtype="float32"), tmp_path))
    assert [operator.calls for operator in taken.operators if operator.category == "layer"] == [1]
    assert not taken.causes
    assert not taken.files


def test_an_epoch_is_not_taken_apart(tmp_path: Path) -> None:
    built = build(small.case("gru", phase="epoch", samples=8, task="many_to_many"), tmp_path)
    with pytest.raises(Skip, match="phases `step` and `loading`"):
        of_built(built, Cpu())


def test_files_are_named_so_that_no_two_cases_share_one() -> None:
    names = {file_name(case) for case in ("a b", "a/b", "a:b", "cell=lstm batch_size=1", "../../x", "é" * 300)}
    assert len(names) == 6
    assert not any(set(name) & set("/:; ") or name.startswith(".") or len(name) > 80 for name in names)


class Launching(Cpu):
    """A device that claims to launch kernels; on a processor torch's profiler sees none."""

    runs_host_code = False


def test_kernels_that_the_profiler_does_not_see_are_missing_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_cpu(**options: Any) -> Any:
        return whole(**options, activities=[ProfilerActivity.CPU])

    whole = torch.profiler.profile
    monkeypatch.setattr(torch.profiler, "profile", only_cpu)
    taken = profile(of_built(build(small.case("gru"), Path()), Launching()), rounds=2, window_seconds=0.0005)
    assert taken.kernels is None
    assert taken.opaque == in_one_piece(taken) == NO_KERNELS
    assert [share.what for share in breakdown(taken)] == ["whole"]


def test_a_call_is_also_made_on_one_thread_which_shows_what_several_cost(tmp_path: Path) -> None:
    torch.set_num_threads(2)  # `one_thread` puts it back
    taken = profile_of(build(small.case("gru"), tmp_path))
    [cause] = [cause for cause in taken.causes if cause.kind == "threads"]
    assert (cause.what, len(cause.seconds)) == ("2 threads", 2)
    assert set(taken.times) == {"call"}
    assert torch.get_num_threads() == 2


def test_kernels_are_summed_by_what_launched_them() -> None:
    launched = {"aten::mm": [10.0, 5.0], "aten::tanh": [2.0], "x": []}  # microseconds
    events = [
        SimpleNamespace(name=name, kernels=[SimpleNamespace(duration=each) for each in durations])
        for name, durations in launched.items()
    ]
    summed = kernels(events)
    assert summed is not None
    assert summed.launches == 3
    assert summed.seconds == pytest.approx({"products": 15e-6, "pointwise": 2e-6})
    assert kernels(events[2:]) is None


SEQUENCE = torch.randn(5, 2, 3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_module_is_not_looked_into_and_nothing_about_its_operators_is_shown() -> None:
    for module in (torch.jit.trace(nn.Linear(3, 4), SEQUENCE), nn.Sequential(torch.jit.script(nn.Linear(3, 4)))):
        case, timed = LiveCase("mine", module, (SEQUENCE,)), TimedCall(lambda: None, torch.inference_mode)
        with ExitStack() as put_back:
            subject = of_live(case, timed, "inference", Cpu(), put_back)
        taken = profile(subject, rounds=2, window_seconds=0.0005)
        assert "can't look inside TorchScript" in taken.opaque
        assert taken.works
        assert (taken.operators, taken.causes, taken.products) == ((), (), None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_part_that_is_compiled_or_scripted_hides_the_whole() -> None:
    compiled: nn.Module = torch.compile(nn.Linear(3, 4))  # type: ignore[assignment] # torch says it is a function
    assert "TorchScript" in hidden(torch.jit.script(nn.functional.relu))
    assert "compiled code" in hidden(nn.Sequential(compiled))
    assert not hidden(nn.Sequential(nn.Linear(3, 4)))
    assert not hidden(torch.tanh)

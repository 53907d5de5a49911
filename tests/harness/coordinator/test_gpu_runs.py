"""Runs on one GPU, or on a numbered one of several."""

import json
from pathlib import Path

from rnnbench.harness.coordinator.start import OBSERVER, case_settings
from tests.doubles import workload as small
from tests.doubles.fake_machine import A, B, Machine, Run, gpu_groups
from tests.harness.coordinator.test_runner import GROUPS as CPU_GROUPS

TWO = {A: "H100", B: "H100"}


def test_a_run_measures_on_one_card_and_says_which(tmp_path: Path) -> None:
    run = Run(tmp_path, Machine(TWO), gpu_groups(3))
    frame = run.go()
    assert set(frame["device_uuid"]) == {A}
    assert set(frame["energy_joules"]) == {0.5}
    assert run.said["devices"] == {"cuda": [{"name": "H100", "uuid": A}]}
    assert run.runner.notes == []


def test_a_card_is_chosen_by_its_number(tmp_path: Path) -> None:
    run = Run(tmp_path, Machine(TWO), gpu_groups(2, "cuda:1"))
    assert set(run.go()["device_uuid"]) == {B}
    assert run.said["devices"] == {"cuda:1": [{"name": "H100", "uuid": B}]}


def test_each_worker_times_what_runs_on_the_processor_before_it_uses_a_gpu(tmp_path: Path) -> None:
    machine = Machine(TWO)
    frame = Run(tmp_path, machine, [*gpu_groups(4), *CPU_GROUPS]).go()
    assert frame.loc[frame["device"] == "cpu", "device_uuid"].isna().all()
    for name in {worker.name for worker in machine.workers} - {OBSERVER}:
        devices = [device for worker, device in machine.timed if worker == name]
        assert set(devices) == {"cpu", "cuda"}
        assert devices == sorted(devices)


def rewrite_cards(path: Path, cards: list[str | None]) -> None:
    """Give the groups of a stored run other cards, in turn; None: no card was recorded."""
    for file in path.glob("windows-*.jsonl"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        sizes = sorted({line["case"] for line in lines if "torch.nn" in line["case"]})
        for line in lines:
            size = next(size for size in line["case"].split() if size.startswith("batch_size="))
            index = next(number for number, case in enumerate(sizes) if f" {size} " in f" {case} ")
            line["device_uuid"] = cards[index % len(cards)]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_settings_of_a_run_are_those_of_its_cases(tmp_path: Path) -> None:
    full = small.workload(device="cuda", dtype="float32")
    assert case_settings([full]) == {"float32 matmul precision": "highest", "cuDNN TF32": "False"}
    both = case_settings([full, small.workload(device="cuda", dtype="tf32"), small.workload(device="tpu")])
    assert both["cuDNN TF32"] == "False: cuda float32; True: cuda tf32"
    run = Run(tmp_path, Machine({A: "H100"}), gpu_groups(1))
    run.go()
    assert run.said["settings"]["cuDNN TF32"] == "False"  # torch's own default is True

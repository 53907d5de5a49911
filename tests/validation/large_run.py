"""A run folder of any size, made without measuring: real cases, with times and noise like the reference machine's."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnbench.store.folder import RunFolder
from rnnbench.store.processor import Processor
from rnnbench.store.records import Case, Group, Measurement
from rnnbench.store.run_info import RunInfo
from rnnbench.suite_file import SuiteFile
from rnnbench.suites import Suite
from tests.doubles.ceilings import ceiling as made_up_ceiling

SWEEP: dict[str, Any] = {
    "cell": ["vanilla", "lstm", "gru"],
    "implementation": ["loop", "hoisted", "compiled", "torch.nn"],
    "phase": ["inference", "training"],
    "batch_size": [1, 4, 16, 64, 256, 1024, 4096],
    "seq_len": [1, 2, 4, 8, 16, 32, 64, 100, 128, 256, 512, 1000],
    "hidden_size": [16, 32, 64, 96, 128, 192, 256, 384, 512, 1024],
}
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
SLOWNESS = {"loop": 4.0, "hoisted": 2.0, "compiled": 1.2, "torch.nn": 1.0}
WINDOW_SECONDS = 0.01
MAX_QUANTILES = 11
PROCESS_SPREAD, BLOCK_NOISE = 0.01, 0.02  # spread of an arm's speed from process to process; what noise adds to a block
CEILING = made_up_ceiling(
    "cpu", "float32", 1, 8.7e10, ((32_768, 4.7e10), (1_048_576, 9e10), (134_217_728, 1.4e10)), 4e-7, None
)
ENVIRONMENT: dict[str, Any] = {
    "machine": {
        "cpu": "made up",
        "processor": Processor("made up").to_json(),
        "cores_allowed": [0, 1],
        "cores": 2,
        "memory_bytes": 32_000_000_000,
    },
    "software": {"python": "3.11", "packages": {"torch": "2.13.0"}, "variables": {}},
    "worker": {"python": "3.11", "torch": "2.13.0", "devices": {}},
}


def suite(**axes: Sequence[Any]) -> Suite:
    """The suite of `SWEEP`, 20,160 cases, with some axes replaced."""
    content = SuiteFile.model_validate({"name": "large", "description": "never measured", "sweep": [SWEEP | axes]})
    return Suite(Path("large.toml"), content)


def write(
    parent: Path,
    what: Suite,
    *,
    replicates: int,
    windows: int,
    seed: int,
    slower: Mapping[str, float] | None = None,
    **info: Any,
) -> Path:
    """A finished run of a suite's cases below `parent`; `slower`: factors on the times of some cases, by key."""
    groups = what.groups({}, None, most=None)
    run = RunFolder.create(parent, what.name)
    about = _info(what, replicates, **info)
    run.write_info(about)
    for case in (case for group in groups for case in group.cases):
        run.add_measurement(_measurement(case, "pending"))
        run.add_measurement(_measurement(case, "measured"))
    run.close()
    rng = np.random.default_rng(seed)
    true = {case.key: _seconds(case) * (slower or {}).get(case.key, 1.0) for group in groups for case in group.cases}
    for replicate in range(replicates):
        file = run.path / f"windows-{replicate:04d}.jsonl"
        with file.open("w", encoding="utf-8") as out:
            for index in rng.permutation(len(groups)):
                out.writelines(_visit(groups[index], true, about.id, replicate, windows, rng))
    return run.path


def _info(what: Suite, replicates: int, **info: Any) -> RunInfo:
    known: dict[str, Any] = {
        "suite": what.name,
        "description": what.content.description,
        "resolved": what.content.model_dump(mode="json"),
        "command": "none: this run was never measured",
        "started": "2026-01-01T00:00:00+00:00",
        "environment": ENVIRONMENT,
        "status": "finished",
        "seconds": 3600.0,
        "replicates": replicates,
        "ceilings": [CEILING.to_json()],
    }
    return RunInfo(**known | info)


def _measurement(case: Case, status: Any) -> Measurement:
    load = case.workload
    parameters = GATES[load.reference] * load.hidden_size * (load.input_size + load.hidden_size + 2)
    macs = parameters * load.batch_size * load.seq_len * (1 if load.phase == "inference" else 3)
    states = 4 * load.batch_size * load.hidden_size * load.seq_len
    is_fused = case.is_reference and load.reference == "lstm"
    metrics = {"parameters": parameters, "macs": macs, "peak_bytes": 3 * states, "saved_bytes": 2 * states}
    counts = {"operators": 2 if is_fused else 13 * load.seq_len, "step_macs": macs // load.seq_len}
    parity = "is the reference" if case.is_reference else "agrees"
    return Measurement(
        case,
        status,
        parity=parity,
        parity_error=3.1e-7,
        backend="mkldnn_rnn_layer" if is_fused else "aten",
        warmup_windows=3,
        metrics=metrics | counts,
        missing={"energy_joules": "no RAPL: there is no /sys/class/powercap"},
    )


def _seconds(case: Case) -> float:
    """Seconds of a call: arithmetic at the machine's rate, and the overhead of its implementation for each step."""
    load = case.workload
    work = GATES[load.reference] * load.batch_size * load.hidden_size * (load.input_size + load.hidden_size)
    arithmetic = load.seq_len * work / CEILING.macs_per_second * (1 if load.phase == "inference" else 3)
    return 5e-6 + arithmetic + load.seq_len * 4e-6 * SLOWNESS[case.implementation]


def _visit(
    group: Group, true: Mapping[str, float], run: str, replicate: int, windows: int, rng: np.random.Generator
) -> list[str]:
    """The lines of one visit: `windows` turns of each case, with the same number of blocks for all."""
    keys = [case.key for case in group.cases]
    slowest = max(true[key] for key in keys)
    blocks = max(1, round(WINDOW_SECONDS / max(slowest, 2e-5)))
    points = min(blocks, MAX_QUANTILES)
    speeds = {key: true[key] * math.exp(rng.normal(0, PROCESS_SPREAD)) for key in keys}
    turns = len(keys) * windows
    noise = np.sort(1 + BLOCK_NOISE * rng.exponential(size=(turns, points)), axis=1)
    order = [key for _ in range(windows) for key in rng.permutation(keys)]
    lines = []
    for index, (key, factors) in enumerate(zip(order, noise, strict=True)):
        batch = max(1, round(slowest / speeds[key]))
        calls = batch * blocks
        seconds = round(calls * speeds[key] * float(factors.mean()), 9)
        quantiles = ",".join(f"{speeds[key] * factor:.10f}" for factor in factors)
        lines.append(
            f'{{"case":{json.dumps(key)},"replicate":{replicate},"worker":"{replicate:04d}","order":{index},'
            f'"turns":{turns},"started":{100.0 * replicate + 0.01 * index:.9f},"calls":{calls},"batch":{batch},'
            f'"seconds":{seconds},"host_seconds":{seconds},"submit_seconds":{seconds},"quantiles":[{quantiles}],'
            f'"cores":[{replicate % 2}],"clock_mhz":null,"device_uuid":null,"waits":1,"run":"{run}"}}\n'
        )
    return lines

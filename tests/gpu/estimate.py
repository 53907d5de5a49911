"""`python -m tests.gpu.estimate [SUITE...]`: estimate how long a suite takes on an H100, without one.

Assumptions that no test has measured:

- An operator of a Python loop takes 10 µs (the host submits it; a published loop over 1,024 steps takes 144 µs a step),
  a kernel of a recorded graph or of a fused layer 2.5 µs. The device works at half to two thirds of its best rate.
- The operators of a step are counted on the CPU, at a small size.
- A worker starts in 5 s (importing torch, the CUDA context). Recording a graph takes four calls of its program.
- Observing takes 200 µs for each operator of a training call, mostly in the profiler: 150 to 250 µs on two busy cores.
- `compiled` takes 45 s when it is first compiled, and 8 s in each later worker, from the cache on disk.
- No replicate is repeated or added, and no case fails.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from pathlib import Path

from rnnbench import suites
from rnnbench.harness.coordinator.preliminaries import ENERGY_SHARE, OBSERVING_SHARE
from rnnbench.harness.devices.meters import GpuEnergy
from rnnbench.store.records import Case, Group, Implementation, Phase, Workload
from rnnbench.suite_file import Settings
from rnnbench.workloads.implementations import Skip
from rnnbench.workloads.prepare import build
from rnnbench.workloads.probes.calls import count

OPERATOR_SECONDS = 10e-6
KERNEL_SECONDS = 2.5e-6
FLOPS_PER_SECOND = {"float32": 35e12, "tf32": 200e12, "bfloat16": 400e12, "float16": 400e12}
START_SECONDS = 5.0
CEILING_SECONDS = 2.0  # for each dtype
BUILD_SECONDS = 0.05
RECORDING_CALLS = 4
COMPILE_SECONDS, FROM_CACHE_SECONDS = 45.0, 8.0
OBSERVE_SECONDS = 0.3  # of a case whose operators are not counted
OBSERVE_SECONDS_PER_OPERATOR = 200e-6
INFERENCE_SHARE = 0.6  # factor in inference, where parity still computes gradients
UNTIMED_CALLS = 1  # before each window
WARMUP_CALLS = 2
CALIBRATION_CALLS = 4  # once in a run
COMPILED_OPERATORS = {"inference": 3, "training": 8}  # for each step


@dataclass(frozen=True)
class Estimate:
    """Seconds of each stage of a run."""

    start: float
    ceilings: float
    observing: float
    energy: float  # at most its share of the budget
    timing: float  # all replicates

    @property
    def total(self) -> float:
        """Seconds of the run."""
        return self.start + self.ceilings + self.observing + self.energy + self.timing


def estimate(groups: Sequence[Group], settings: Settings) -> Estimate:
    """The time of a run of these groups on one H100 with the minimum number of replicates."""
    cases = [case for group in groups for case in group.cases if case.is_reference or _operators(case)]
    ceilings = CEILING_SECONDS * len({group.workload.dtype for group in groups})
    observing = sum(map(_observe_seconds, cases))
    energy = START_SECONDS + sum(map(_energy_seconds, cases))
    if settings.budget_seconds is not None:
        energy = min(energy, ENERGY_SHARE * max(0.0, settings.budget_seconds - ceilings - observing))
    visits = sum(_visit_seconds(case, settings) for case in cases)
    calibration = sum(CALIBRATION_CALLS * call_seconds(case) for case in cases)
    timing = settings.replicates * (START_SECONDS + visits) + calibration
    return Estimate(START_SECONDS, ceilings, observing, energy, timing)


def call_seconds(case: Case) -> float:
    """Seconds of one call: the larger of the host's time to submit it and the device's time to run it."""
    load = case.workload
    if case.implementation == "torch.nn":
        passes = 1 if load.phase == "inference" else 3
        kernels, of_host = 3.0 * passes * load.seq_len * load.num_layers, 0.0
    else:
        kernels = _operators(case)
        of_host = 0.0 if case.implementation == "cudagraph" else kernels * OPERATOR_SECONDS
    return max(of_host, kernels * KERNEL_SECONDS, _device_seconds(load))


def _device_seconds(load: Workload) -> float:
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[load.reference]
    of_step = load.batch_size * gates * load.hidden_size * (load.input_size + load.hidden_size)
    passes = 1 if load.phase == "inference" else 3
    return 2 * passes * of_step * load.seq_len * load.num_layers / FLOPS_PER_SECOND[load.dtype]


def _operators(case: Case, phase: Phase | None = None) -> float:
    """Operators of a call, or of the program that a graph replays; 0 if the case is skipped."""
    load = replace(case.workload, phase=phase or case.workload.phase)
    if case.implementation == "compiled":
        return COMPILED_OPERATORS[load.phase] * load.seq_len * load.num_layers
    replayed: list[Implementation] = (
        ["hoisted", "loop"] if case.implementation == "cudagraph" else [case.implementation]
    )
    counts = (load.seq_len * _operators_of_step(Case(case.cell, implementation, load)) for implementation in replayed)
    return next(filter(None, counts), 0.0)


def _operators_of_step(case: Case) -> float:
    small = replace(case.workload, batch_size=2, seq_len=4, input_size=4, hidden_size=4, dtype="float32", device="cpu")
    return _counted(replace(case, workload=small))


@cache
def _counted(case: Case) -> float:
    """Operators that each further step adds to a call; 0 if the case is skipped."""
    counts = []
    for steps in (4, 8):
        try:
            built = build(replace(case, workload=replace(case.workload, seq_len=steps)), Path())
        except Skip:
            return 0.0
        forget = partial(built.model.zero_grad, set_to_none=True)
        counts.append(count(built.timed_call(), built.input.device, forget).operators)
    return (counts[1] - counts[0]) / 4


def _observe_seconds(case: Case) -> float:
    if case.implementation == "compiled":
        return OBSERVE_SECONDS + COMPILE_SECONDS
    if case.implementation == "cudagraph":
        return OBSERVE_SECONDS + _ready_seconds(case)
    if case.is_reference:
        return OBSERVE_SECONDS
    share = INFERENCE_SHARE if case.workload.phase == "inference" else 1.0
    return OBSERVE_SECONDS + share * OBSERVE_SECONDS_PER_OPERATOR * _operators(case, "training")


def _ready_seconds(case: Case) -> float:
    """Seconds to build a case in a worker, and to record its graph or load its compiled code."""
    match case.implementation:
        case "compiled":
            return BUILD_SECONDS + FROM_CACHE_SECONDS
        case "cudagraph":
            return BUILD_SECONDS + RECORDING_CALLS * max(_operators(case) * OPERATOR_SECONDS, call_seconds(case))
    return BUILD_SECONDS


def _energy_seconds(case: Case) -> float:
    return _ready_seconds(case) + CALIBRATION_CALLS * call_seconds(case) + GpuEnergy.least_seconds


def _visit_seconds(case: Case, settings: Settings) -> float:
    call = call_seconds(case)
    window = UNTIMED_CALLS * call + max(call, settings.window_seconds)
    return _ready_seconds(case) + WARMUP_CALLS * call + settings.windows * window


def lines(names: Iterable[str]) -> Iterable[str]:
    """One line for each suite."""
    stages = [stage.name for stage in fields(Estimate)]
    yield f"{'suite':<16}{'groups':>8}{'cases':>8}" + "".join(f"{stage:>11}" for stage in (*stages, "total"))
    for name in names:
        suite = suites.read(name)
        groups = suite.groups({}, None, most=None)
        estimated = estimate(groups, suite.settings)
        cases = sum(len(group.cases) for group in groups)
        seconds = [*(getattr(estimated, stage) for stage in stages), estimated.total]
        yield f"{name:<16}{len(groups):>8}{cases:>8}" + "".join(f"{value:>9.0f} s" for value in seconds)
        if suite.settings.budget_seconds and estimated.observing > OBSERVING_SHARE * suite.settings.budget_seconds:
            yield f"{name}: observing takes more than {OBSERVING_SHARE:.0%} of the budget: some cases stay pending"


if __name__ == "__main__":
    print("\n".join(lines(sys.argv[1:] or ["cuda", "cuda-full", "published", "published-full"])))

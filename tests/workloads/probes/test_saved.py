"""What forward keeps for backward, for models whose needs are known."""

from pathlib import Path

import pytest

from rnnbench.workloads.prepare import build
from rnnbench.workloads.probes.saved import probe
from tests.doubles import workload as small

FLOAT = 8


def saved(implementation: str, phase: str = "training") -> int:
    size: int = probe(build(small.case("vanilla", implementation, phase=phase), Path())).values["saved_bytes"]  # type: ignore[arg-type]
    return size


def test_inference_keeps_nothing() -> None:
    assert saved("loop", "inference") == 0


@pytest.mark.parametrize("implementation", ["loop", "hoisted"])
def test_a_vanilla_cell_keeps_its_states_and_their_stack_for_the_head(implementation: str) -> None:
    work = small.workload()
    states = work.seq_len * work.batch_size * work.hidden_size * FLOAT
    assert saved(implementation) == 2 * states  # each once as tanh's result, and all of them stacked, for the head


def test_a_step_keeps_what_training_keeps() -> None:
    assert saved("loop", "step") == saved("loop", "training")

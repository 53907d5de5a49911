"""What each task feeds into the sequence and takes out of it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rnnbench.workloads.prepare import build
from tests.doubles import workload as small

ROOT = Path()


@pytest.mark.parametrize(
    ("task", "changes", "read", "given"),
    [
        ("many_to_many", {}, 4, 4),
        ("many_to_one", {}, 4, 1),
        ("one_to_one", {"seq_len": 1}, 1, 1),
        ("one_to_many", {"input_size": 2}, 1, 4),
        ("encoder_decoder", {}, 4, 4),
        ("encoder_decoder", {"output_len": 9}, 4, 9),
    ],
)
def test_each_task_reads_and_gives_its_own_number_of_steps(task: Any, changes: Any, read: int, given: int) -> None:
    for case in (
        small.case("lstm", task=task, **changes),
        small.reference_case("lstm", task=task, **changes),
    ):
        built = build(case, ROOT)
        output, _ = built.model(built.input, built.state)
        assert built.input.shape[0] == read
        assert output.shape == (given, 3, 2)
        assert case.workload.output_steps == given


def test_one_to_many_is_fed_what_it_has_given() -> None:
    built = build(small.case("gru", task="one_to_many", input_size=2), ROOT)
    output, _ = built.model(built.input, built.state)
    body: Any = built.model.body
    h, fed = built.state, built.input[0]
    for step in output:
        h = body.cells[0](fed, h)
        fed = built.model.head(h)
        torch.testing.assert_close(step, fed)


def test_a_decoder_has_weights_of_its_own_and_starts_where_the_encoder_ended() -> None:
    built = build(small.case("vanilla", task="encoder_decoder", output_len=1), ROOT)
    model: Any = built.model
    assert model.decoder.cells[0].weight_ih.shape == (6, 2)  # it is fed outputs
    _, end = model.body(built.input, built.state)
    expected = model.head(model.decoder.cells[0](torch.zeros(3, 2).double(), end))
    torch.testing.assert_close(model(built.input, built.state)[0][0], expected)

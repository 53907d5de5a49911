"""What cases and groups are called in other tools."""

from pathlib import Path
from typing import Any

import pytest

from rnnbench.report.words.case_names import case_name, group_name
from rnnbench.store.records import Case
from rnnbench.suite import suites
from tests.doubles import workload as small

SIZES: dict[str, Any] = {"batch_size": 32, "seq_len": 16, "hidden_size": 64, "input_size": 64, "output_size": 10}
USUAL: dict[str, Any] = {"dtype": "float32", **SIZES}
LOADING: dict[str, Any] = {"reference": "windows", "phase": "loading", "samples": 1024, "workers": 2, "batch_size": 4}


@pytest.mark.parametrize(
    ("case", "name", "group"),
    [
        (
            small.case("lstm", phase="training", **USUAL),
            "lstm-loop-training-batch32-length16-hidden64",
            "torch.nn.LSTM training, batch 32, length 16, hidden 64",
        ),
        (
            small.case("deep", "hoisted", **USUAL | {"dtype": "float64", "threads": 2, "device": "cuda:1"}),
            "deep-hoisted-inference-batch32-length16-hidden64-layers3-float64-cuda:1-threads2",
            "torch.nn.RNN inference, batch 32, length 16, hidden 64, 3 layers, float64, cuda:1, 2 threads",
        ),
        (
            small.reference_case("gru", **USUAL, bidirectional=True, dropout=0.1, lengths="varied", output_len=5),
            "torch.nn.GRU-torch.nn-inference-batch32-length16-hidden64-decoded5-bidirectional-dropout0.1-varied-lengths",
            "torch.nn.GRU inference, batch 32, length 16, hidden 64, decoded length 5, two directions, dropout 0.1, "
            "varied lengths",
        ),
        (
            Case("windows", "per_item", small.workload(**USUAL | LOADING)),
            "windows-per_item-loading-batch4-length16-samples1024-workers2",
            "windows loading, batch 4, length 16, 1,024 samples, 2 workers",
        ),
        (
            Case("my.py:Mine", "loop", small.workload(**USUAL, reference="none")),
            "my.py:Mine-loop-inference-against-none-batch32-length16-hidden64",
            "no reference inference, batch 32, length 16, hidden 64",
        ),
    ],
)
def test_a_case_and_its_group_are_called_by_what_is_not_usual(case: Case, name: str, group: str) -> None:
    assert case_name(case) == name
    assert group_name(case.workload) == group


@pytest.mark.parametrize("suite", [path.stem for path in Path("suites").glob("*.toml")])
def test_no_two_cases_or_groups_of_a_suite_are_called_alike(suite: str) -> None:
    groups = suites.read(suite).groups({}, None, most=None)
    cases = [case for group in groups for case in group.cases]
    assert len({case_name(case) for case in cases}) == len(cases)
    assert len({group_name(group.workload) for group in groups}) == len(groups)

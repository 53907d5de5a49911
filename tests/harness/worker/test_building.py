"""Cases are built under torch's settings for them, whatever came before."""

from typing import Any

import pytest
import torch

from rnnbench.cells import CellError
from rnnbench.harness.worker.building import Builder
from rnnbench.store.records import Case
from tests.doubles import workload as small


def request(case: Case) -> dict[str, Any]:
    return {"case": case.axes(), "root": ".", "compiled_steps": 64}


def test_a_case_is_built_with_its_threads_which_can_be_put_back() -> None:
    builder, before = Builder(), torch.get_num_threads()
    try:
        assert builder.build(request(small.case("gru", threads=1))).case.cell == "gru"
        assert torch.get_num_threads() == 1
        torch.set_num_threads(2)
        builder.put_back()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_case_of_a_newer_rnnbench_is_refused() -> None:
    newer = request(small.case("gru"))
    newer["case"] |= {"quantum": 1}
    with pytest.raises(CellError, match="no axis quantum"):
        Builder().build(newer)

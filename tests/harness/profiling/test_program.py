import linecache
from typing import Any

import pytest
import torch

from rnnbench.harness.profiling.program import record

CODE = "import torch\n\ndef step(x, w):\n    return torch.tanh(x @ w)  # a step\n"


@pytest.mark.parametrize("file", ["/anywhere/ipykernel_123/4567.py", "<ipython-input-3-0123456789ab>"])
def test_a_line_of_a_notebooks_cell_is_quoted(file: str) -> None:
    linecache.cache[file] = len(CODE), None, CODE.splitlines(keepends=True), file  # as IPython does
    cell: dict[str, Any] = {}
    exec(compile(CODE, file, "exec"), cell)
    x, w = torch.randn(2, 3), torch.randn(3, 3)
    program = record(lambda: cell["step"](x, w))
    assert {call.where for call in program.calls} == {"`return torch.tanh(x @ w)  # a step`:4"}

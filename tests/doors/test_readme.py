"""The Python blocks of README.md, run in their order as they stand."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

import rnnbench
from tests.doubles import commands

README = Path(__file__).parents[2] / "README.md"


def python_blocks() -> list[str]:
    """Return the indented blocks that are Python."""
    indented = re.findall(r"(?:^    .*\n|^\n(?=    ))+", README.read_text(), re.MULTILINE)
    blocks = ["\n".join(line.removeprefix("    ") for line in block.splitlines()) for block in indented]
    return [block for block in blocks if re.search(r"^(import|from|class|def) ", block, re.MULTILINE)]


def within_a_second(function: Callable[..., Any], *given: Any, **more: Any) -> Any:
    return function(*given, **more | {"budget": "1s"})


@pytest.mark.usefixtures("one_thread")
def test_the_python_blocks_of_the_readme_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commands.rnnbench("new-cell", "MyLSTM", "--sequence", cwd=tmp_path).returncode == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    # The blocks stand as they are; only the budgets that they name are cut.
    for name in ("measure", "fastest"):
        monkeypatch.setattr(rnnbench, name, partial(within_a_second, getattr(rnnbench, name)))
    blocks = python_blocks()
    assert len(blocks) == 1
    names: dict[str, Any] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert list(names["found"].frame.index) == ["mine", "torch"]
    assert names["outputs"].shape == (32, 8, 128)
    plt.close("all")

"""What a user reads: a terminal of some width, as plain text without spaces at the ends of lines, and errors."""

import io
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from rich.console import Console, RenderableType

from rnnbench.report.screen.terminal import RunScreen
from rnnbench.report.verdicts.outputs import VerdictScreen
from rnnbench.report.verdicts.verdicts import Verdicts
from rnnbench.store.run_info import RunInfo


def text(content: RenderableType, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(content)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def of_run(summary: pd.DataFrame, info: RunInfo, width: int = 100, **how: Any) -> str:
    return text(RunScreen(summary, info, **how), width)


def of_verdicts(verdicts: Verdicts, width: int = 100) -> str:
    return text(VerdictScreen(verdicts), width)


def told(call: Callable[[], object], kind: type[Exception] = ValueError) -> str:
    """Return the message of the error that a call raises."""
    with pytest.raises(kind) as raised:
        call()
    return str(raised.value)

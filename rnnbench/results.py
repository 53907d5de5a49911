"""The classes of what the functions of `import rnnbench` return, for annotations.

from rnnbench.results import MeasureResult

def worst(result: MeasureResult) -> float:
    return float(result.frame["ratio"].max())
"""

from rnnbench.report.frame_result import (
    ChangesResult,
    ExplainResult,
    FrameResult,
    MeasureResult,
    NotSlowerResult,
    RunsResult,
    SweepResult,
)

__all__ = [
    "ChangesResult",
    "ExplainResult",
    "FrameResult",
    "MeasureResult",
    "NotSlowerResult",
    "RunsResult",
    "SweepResult",
]

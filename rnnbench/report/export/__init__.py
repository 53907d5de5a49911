"""A run in the formats of other tools: one module for each, and the table of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """Where a format is written, and what becomes of the cases that were not measured."""

    module: str  # below this package
    suffix: str  # of its files
    keeps_all: bool = False  # has a place for cases that were not measured
    is_text: bool = True  # may go to standard output
    direction: str = ""  # of the only metrics that it has a place for: "less" is better


FORMATS = {
    "pytest-benchmark": Format("pytest_benchmark", "json"),
    "github-action-benchmark": Format("github_action", "json", direction="less"),
    "bencher": Format("bencher", "json"),
    "csv": Format("csv", "csv", keeps_all=True),
    "parquet": Format("parquet", "parquet", keeps_all=True, is_text=False),
}

"""Which clock is read where: the wall clock, which can be set, only dates runs."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "rnnbench"
MAY_BE_SET = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
# The name of a run's folder, its `started`, and its age.
NAMES_A_RUN = {
    "store/folder.py",
    "store/run_info.py",
    "slurm/sweep.py",
}


def test_only_the_names_of_runs_and_their_start_come_from_a_clock_that_can_be_set() -> None:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                read = (node.value.id, node.attr) in MAY_BE_SET
                assert not read or str(file.relative_to(PACKAGE)) in NAMES_A_RUN, f"{file}:{node.lineno}"

"""`rnnbench report --together` and `--history`: several runs in one report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rnnbench.errors import UserError
from rnnbench.text import listed

if TYPE_CHECKING:
    from rnnbench.report.page.place import ReportFolder

RESULTS = Path("results")


def together_report(runs: Sequence[Path], out: Path | None) -> tuple[dict[str, bytes], "ReportFolder"]:
    """The files and the folder of a report of runs side by side; the first is the baseline."""
    if len(runs) < 2:
        raise UserError("--together needs at least two runs; the first is the baseline for the others")
    from rnnbench import suites
    from rnnbench.analysis import stored
    from rnnbench.analysis.together import together
    from rnnbench.report.page import several_runs
    from rnnbench.report.page.place import of_runs, place
    from rnnbench.report.page.together import section

    read = [stored.read(path) for path in runs]
    margin = suites.check_settings(runs[0], read[0].info.resolved).margin
    names = [run.name for run in read]
    title = f"{names[0]} beside {listed(names[1:])}"
    folder = place(of_runs(names, [(path, run.info) for path, run in zip(runs, read, strict=True)]), out)
    return several_runs.render(title, [section(together(read, margin))]), folder


def history_report(
    paths: Sequence[Path], suite: str | None, out: Path | None
) -> tuple[dict[str, bytes], "ReportFolder"]:
    """The files and the folder of a report of a suite's runs over time.

    `paths` are runs, checks, of which the head counts, or folders of them.
    """
    from rnnbench.analysis import stored
    from rnnbench.analysis.history import history
    from rnnbench.report.page import several_runs
    from rnnbench.report.page.history import section
    from rnnbench.report.page.place import of_history, place

    suite, runs = _of_suite(paths or [RESULTS], suite)
    folder = place(of_history(suite, runs), out)
    run_history = history([stored.read(path) for path in runs])
    return several_runs.render(f"{suite}: history", [section(run_history)]), folder


def _of_suite(paths: Sequence[Path], suite: str | None) -> tuple[str, list[Path]]:
    """The suite, and the folders of its runs; raises UserError if there are fewer than two."""
    from rnnbench.store.folder import read_info

    folders = [run for path in paths for run in _runs(path)]
    suites = {run: read_info(run).suite for run in dict.fromkeys(run.resolve() for run in folders)}
    counts = Counter(suites.values())
    several = [name for name, count in counts.items() if count > 1]
    if suite is None and len(several) != 1:
        where, remedy = " and ".join(map(str, paths)), "name one with --suite" if several else "at least two are needed"
        raise UserError(f"--history {where}: {_counted(counts)}; {remedy}")
    chosen = suite or several[0]
    if counts[chosen] < 2:
        raise UserError(f"--suite {chosen}: a history needs at least two runs; there are {_counted(counts)}")
    return chosen, [run for run, name in suites.items() if name == chosen]


def _runs(path: Path) -> list[Path]:
    """The run at a path, or those in a folder; of a check it is the head's. Raises UserError if there are none."""
    from rnnbench.store.folder import is_check

    if (path / "run.json").exists():
        return [path]
    if is_check(path):
        return [path / "head"]
    runs = sorted(file.parent for file in path.glob("*/run.json"))
    runs += sorted(file.parent for file in path.glob("*/head/run.json") if is_check(file.parents[1]))
    if not runs:
        raise UserError(
            f"--history {path}: neither a run or a check nor a folder of them; `rnnbench run` makes runs below results/"
        )
    return runs


def _counted(counts: Mapping[str, int]) -> str:
    """`3 runs of quick and 1 run of ladder`."""
    parts = [f"{count} {'run' if count == 1 else 'runs'} of {name}" for name, count in sorted(counts.items())]
    return " and ".join(parts)

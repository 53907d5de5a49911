"""The section on several runs side by side: what differs between them, in words, a figure and tables."""

import math
from collections.abc import Iterator

from rnnbench.analysis.run_to_run import TOO_FEW
from rnnbench.analysis.runs.lost_windows import noted_of_runs
from rnnbench.analysis.together import Together
from rnnbench.report.figures.all_figures import picture
from rnnbench.report.figures.several_runs import figure_together
from rnnbench.report.page.section import DIFFERENCES, LOST, Section, of_runs
from rnnbench.report.tables import table_together
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.case_names import Names, names
from rnnbench.report.words.changes import IN_THE_MEAN, change_interval, slower
from rnnbench.report.words.run_names import named
from rnnbench.report.words.units import round_percent
from rnnbench.text import listed, plural

CAPTION = (
    "Medians over the cases that all runs have; the lines show the middle half of the cases. Each run's times "
    "are divided by those of the reference that was measured beside them, never by another run's."
)
MAX_NOTED = 8  # keys of the environment that are named in the notes; the table has all


def section(found: Together) -> Section:
    """Words, figure and tables of runs side by side."""
    case_names, runs = names(row.case for row in found.rows), named(found.runs)
    figure = figure_together.render(found, runs)
    title = "How far from the reference in each run"
    pictures = () if figure is None else (picture("together", title, CAPTION, figure),)
    tables = (table_together.cases(found, case_names, runs), table_together.environments(found, runs))
    words = tuple(_words(found, case_names, runs))
    warnings = {LOST: tuple(map(one_line, noted_of_runs(found.runs))), DIFFERENCES: tuple(_differences(found, runs))}
    return of_runs("together", "The runs side by side", words, warnings, pictures, tables)


def _words(together: Together, case_names: Names, runs: list[str]) -> Iterator[str]:
    apart: dict[tuple[str, ...], list[str]] = {}  # why runs can't be compared -> which
    for run, differences in zip(runs[1:], together.machines, strict=True):
        if differences:
            apart.setdefault(differences, []).append(run)
    for differences, others in apart.items():
        which = f"{listed(others)} can't"
        if len(others) == len(runs) - 1 > 2:
            which = f"None of the {len(others)} later runs can"
        yield one_line(f"{which} be compared with {runs[0]}: {'; '.join(differences)}.")
    for index, run in enumerate(runs[1:]):
        if together.machines[index]:
            continue
        judged = [(row, change) for row in together.rows if (change := row.changes[index]) is not None]
        if not judged:
            yield f"{run} has no case in common with {runs[0]}."
            continue
        counts = [
            f"{count:,} {word}"
            for verdict, word in table_together.SAID.items()
            if (count := sum(change.verdict == verdict for _, change in judged))
        ]
        yield (
            f"{run} against {runs[0]}, by the ratios to the reference in each: of {plural(len(judged), 'case')} "
            f"{', '.join(counts)} (margin {round_percent(together.margin)})."
        )
        if not any(math.isfinite(change.deciding.lower) for _, change in judged):
            yield f"No verdict: {TOO_FEW}."
        decided = [pair for pair in judged if pair[1].verdict in ("regressed", "improved")]
        if decided:
            row, change = max(decided, key=lambda pair: abs(pair[1].deciding.value - 1))
            which = f" {IN_THE_MEAN}" if change.decided_by == "mean" else ""
            size = f"{slower(change.deciding.value)}{which} {change_interval(change.deciding)}"
            yield f"The largest difference: {case_names.name(row.case)}, {size}."
    if together.alone:
        verb = "is" if together.alone == 1 else "are"
        yield f"{plural(together.alone, 'case')} {verb} in one run only, and left out."


def _differences(together: Together, runs: list[str]) -> Iterator[str]:
    """The differences between the environments, one line each."""
    for key, values in list(together.unlike.items())[:MAX_NOTED]:
        texts = (table_together.environment_value(value) for value in values)
        sides = "; ".join(f"{text} ({run})" if run not in text else text for text, run in zip(texts, runs, strict=True))
        yield one_line(f"{key.replace('_', ' ')}: {sides}")
    if len(together.unlike) > MAX_NOTED:
        more = len(together.unlike) - MAX_NOTED
        differ = "key of the environment differs" if more == 1 else "keys of the environment differ"
        yield f"{more:,} more {differ}; the table has all."

"""The section on many checks: what they found, in words, a figure and tables."""

from collections.abc import Iterator, Sequence

import pandas as pd

from rnnbench.analysis.verdict import CHANGED
from rnnbench.report.figures.all_figures import picture
from rnnbench.report.figures.several_runs import figure_checks
from rnnbench.report.figures.several_runs.panels import MAX_PANELS
from rnnbench.report.page.section import LEFT_OUT, Section, of_runs
from rnnbench.report.verdicts import over_time_tables
from rnnbench.report.verdicts.over_time import DatedCheck, frame
from rnnbench.report.words.changes import slower
from rnnbench.report.words.run_names import commit, when
from rnnbench.report.words.units import span
from rnnbench.text import plural

CAPTION = (
    "Each mark is the change of a case in one check, from its base to its head, with its 95% interval. Checks do not "
    "add up: a check compares its own two commits, and those between two checks may be in none. At most {panels} cases "
    "are drawn: first those that regressed or improved, the largest change first."
)


def section(checks: Sequence[DatedCheck], left_out: Sequence[str] = ()) -> Section:
    """Words, figure and tables of checks, the oldest first; `left_out`: the files of others that can't be read."""
    found = frame(checks)
    figure = figure_checks.render(found, [when(check.head) for check in checks])
    caption = CAPTION.format(panels=MAX_PANELS)
    pictures = () if figure is None else (picture("checks", "Changes over the checks", caption, figure),)
    tables = (over_time_tables.changes(found, checks), over_time_tables.every(found, checks))
    words = tuple(_words(found, checks))
    return of_runs("checks", "What the checks found", words, {LEFT_OUT: left_out}, pictures, tables)


def _words(found: pd.DataFrame, checks: Sequence[DatedCheck]) -> Iterator[str]:
    days = span(when(checks[0].head)[:10], when(checks[-1].head)[:10])
    judged = found[found["verdict"].notna()]
    cases = plural(judged["case"].nunique(), "case")
    over = f"{cases} in {plural(len(checks), 'check')} {'from' if ' ' in days else 'on'} {days}"
    counts = {verdict: judged.loc[judged["verdict"] == verdict, "case"].nunique() for verdict in CHANGED}
    told = [f"{count:,} {verdict}" for verdict, count in counts.items() if count]
    yield f"Of {over}, {' and '.join(told) if told else 'none regressed and none improved'}."
    for verdict, word in zip(CHANGED, ("slowdown", "gain"), strict=True):
        rows = judged[(judged["verdict"] == verdict) & judged["change"].notna()]
        if len(rows):
            largest = rows.sort_values("change", ascending=verdict == "improved").iloc[0]
            check = checks[int(largest["check"])]
            where = " ".join(filter(None, [when(check.head), commit(check.head)]))
            yield f"The largest {word}: {largest['name']}, {slower(float(largest['change']))}, in the check of {where}."

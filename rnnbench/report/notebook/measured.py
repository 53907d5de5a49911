"""What `rnnbench.measure(...)` returns: a frame that prints with units and draws itself."""

import math
import shutil
import textwrap
from html import escape
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from rnnbench.analysis.rounds import wider_than
from rnnbench.harness.turns.needed import TimeNeeded
from rnnbench.report.figures import figure_measured
from rnnbench.report.words.units import MISSING, count, duration, ratio, round_percent
from rnnbench.suite_file import Settings
from rnnbench.text import plural

FORMATS: dict[Any, Any] = {
    **dict.fromkeys(("seconds", "seconds_low", "seconds_high", "mean_seconds"), duration),
    **dict.fromkeys(("ratio", "ratio_low", "ratio_high"), ratio),
    "parameters": count,
}


HELD_UP = 1.5  # mean over low quantile; noise on a busy machine makes it 1.1 to 1.3
ONE_PROCESS = (
    "95% intervals are over rounds of turns in one process. They do not contain the differences between "
    "processes, maybe a percent or two."
)


ONE_ROUND = "From one round: no interval."


class Measured(pd.DataFrame):
    """One row for each module, by its name; what is made from it (`head()`, a selection) is a plain DataFrame.

    - `seconds`, `seconds_low`, `seconds_high`: time per call and its 95% interval over rounds;
    - `ratio`, `ratio_low`, `ratio_high`: time over the reference's, taken within each round; 1 for the reference;
    - `mean_seconds`: the plain mean over all calls, which shows what a low quantile can't;
    - `replicates`: rounds;
    - `parity`: whether the output agrees with the reference's, before and after timing, or why it is not compared;
    - `parameters`: how many a module has; missing for a function.

    `attrs` has `phase`, `reference`, `device`, `threads`, `torch` (its version) and `note`, what to know
    about the numbers.
    """

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def plot(self) -> Figure:  # type: ignore[override]
        """The ratios with their intervals as a figure, which a notebook shows; `savefig(path)` keeps it."""
        return figure_measured.render(self)

    def __repr__(self) -> str:
        width = shutil.get_terminal_size((120, 24)).columns
        return f"{self._written().to_string(line_width=width)}\n\n{textwrap.fill(self.attrs.get('note', ''), width)}"

    def _repr_html_(self) -> str:
        return f"{self._written().to_html()}\n<p>{escape(self.attrs.get('note', ''))}</p>"

    def _written(self) -> pd.DataFrame:
        """The frame as text, with units."""
        columns = {name: FORMATS.get(name, str) for name in self.columns}
        written = {
            name: [MISSING if pd.isna(value) else say(value) for value in self[name]] for name, say in columns.items()
        }
        return pd.DataFrame(written, index=self.index)


def note(frame: pd.DataFrame, settings: Settings, *, cut: bool, needed: TimeNeeded | None = None) -> str:
    """What to know about the numbers: what the intervals hold, and which target was missed.

    `cut`: the budget ended the rounds; `needed`: how much more time would have been enough.
    """
    rounds = int(frame["replicates"].iloc[0])
    sentences = [ONE_PROCESS if rounds > 1 else ONE_ROUND]
    more = f"; {needed.more('for the target')}" if needed else ""
    why = f"the budget of {duration(settings.budget_seconds or math.nan)} had no room for more{more}"
    wide = [] if settings.precision is None else wider_than(frame, settings.precision)
    if wide and rounds > 1:
        reason = f" ({why})" if cut else ""
        target = f"±{round_percent(settings.precision or 0)}"
        sentences.append(f"Wider than {target} after {plural(rounds, 'round')}{reason}: {', '.join(wide)}.")
    elif cut:
        sentences.append(f"{rounds} of {plural(settings.replicates, 'round')}: {why}.")
    held_up = frame["mean_seconds"] / frame["seconds"]
    if held_up.max() > HELD_UP:
        sentences.append(
            f"Calls were often held up: a mean is {ratio(held_up.max())} the time shown. Other work takes the cores, "
            "or torch has more threads than there are cores free."
        )
    return " ".join(sentences)

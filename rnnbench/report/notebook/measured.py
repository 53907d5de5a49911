"""What `rnnbench.measure(...)` returns."""

import math
import platform
import shutil
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from rnnbench.analysis.rounds import compare, rounds_of, wider_than
from rnnbench.harness.live.measuring import MeasuredModules
from rnnbench.harness.machine.cores import allowed_cores
from rnnbench.harness.machine.processor import processor
from rnnbench.harness.turns.needed import TimeNeeded
from rnnbench.report.figures import figure_measured
from rnnbench.report.figures.drawing.sheet import returned
from rnnbench.report.notebook.frame_result import FrameResult, folded, paragraphs
from rnnbench.report.words.processors import identity
from rnnbench.report.words.units import MISSING, count, duration, ratio, round_percent
from rnnbench.store.records import Phase
from rnnbench.suite_file import Settings
from rnnbench.text import plural
from rnnbench.version import __version__

FORMATS: dict[Any, Any] = {
    **dict.fromkeys(("seconds", "seconds_low", "seconds_high", "mean_seconds"), duration),
    **dict.fromkeys(("ratio", "ratio_low", "ratio_high", "base_ratio", "head_ratio", "mean_ratio"), ratio),
    "parameters": count,
}


HELD_UP = 1.5  # mean over median; noise on a busy machine makes it 1.1 to 1.3
ONE_PROCESS = (
    "95% intervals are over rounds of turns in one process. They do not contain the differences between "
    "processes, maybe a percent or two."
)


ONE_ROUND = "From one round: no interval."


@dataclass(frozen=True, repr=False, eq=False)
class Measured(FrameResult):
    """The times of live modules: what `rnnbench.measure` returns.

    `frame` has a row for each module, by its name (`module`):

    - `seconds`, `seconds_low`, `seconds_high`: time per call and its 95% interval over rounds;
    - `ratio`, `ratio_low`, `ratio_high`: time over the reference's, taken within each round; 1 for the reference;
    - `mean_seconds`: the plain mean over all calls, which shows what a median can't;
    - `replicates`: rounds;
    - `parity`: whether the output agrees with the reference's, before and after timing, or why it is not compared;
    - `parameters`: how many a module has; missing for a function.

    `rounds` has a row for each module and round: `seconds`, `mean_seconds` and `ratio`. `environment` has a row for
    each fact about the machine and the software.
    """

    FRAMES = ("frame", "rounds", "environment")

    frame: pd.DataFrame
    rounds: pd.DataFrame
    environment: pd.DataFrame
    reference: str  # the module that the others are compared with
    phase: Phase
    device: str
    threads: int
    note: str  # what to know about the numbers

    def plot(self, ax: Axes | None = None) -> Any:
        """The ratios with their intervals as a figure, which a notebook shows; `savefig(path)` keeps it.

        Draws on `ax`, if given, in the style in force, and returns it.
        """
        return returned(figure_measured.render(self.frame, ax=ax), ax)

    def __repr__(self) -> str:
        width = shutil.get_terminal_size((120, 24)).columns
        return f"{written(self.frame).to_string(line_width=width)}\n\n{folded(self.note)}"

    def _repr_html_(self) -> str:
        return f"{written(self.frame).to_html()}\n{paragraphs(self.note)}"


def measured(found: MeasuredModules, phase: Phase, settings: Settings) -> Measured:
    """The result of `rnnbench.measure`, as frames."""
    frame = compare(found.times, found.reference)
    frame["parity"] = pd.Series(found.parity)
    frame["parameters"] = pd.Series(found.parameters, dtype="Int64")
    frame.index.name = "module"
    frame.attrs = {
        "phase": phase,
        "reference": found.reference,
        "device": found.device,
        "threads": found.threads,
        "torch": found.torch,
    }
    told = note(frame, settings, cut=found.cut, interrupted=found.interrupted, needed=found.needed)
    return Measured(
        frame,
        rounds_of(found.times, found.reference),
        environment(found),
        found.reference,
        phase,
        found.device,
        found.threads,
        " ".join([told, *found.notes]),
    )


def written(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of times and ratios as text, with units."""
    columns = {name: FORMATS.get(name, str) for name in frame.columns}
    texts = {
        name: [MISSING if pd.isna(value) else say(value) for value in frame[name]] for name, say in columns.items()
    }
    return pd.DataFrame(texts, index=frame.index)


def environment(found: MeasuredModules) -> pd.DataFrame:
    """A row for each fact: `what` it is and its `value` as text."""
    here = processor()
    facts = {
        "processor": identity(here),
        "cores": ",".join(map(str, allowed_cores())),
        "device": found.device,
        "threads": found.threads,
        "python": platform.python_version(),
        "torch": found.torch,
        "rnnbench": __version__,
    }
    return pd.DataFrame({"what": list(facts), "value": list(map(str, facts.values()))})


def note(
    frame: pd.DataFrame,
    settings: Settings,
    *,
    cut: bool,
    interrupted: bool = False,
    needed: TimeNeeded | None = None,
) -> str:
    """What to know about the numbers: what the intervals hold, and which target was missed.

    `cut`: the budget ended the rounds; `interrupted`: Ctrl-C did; `needed`: how much more time would have been enough.
    """
    rounds = int(frame["replicates"].iloc[0])
    sentences = [ONE_PROCESS if rounds > 1 else ONE_ROUND]
    if interrupted:
        sentences.insert(0, f"Interrupted after {plural(rounds, 'round')}.")
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
            "or torch has more threads than there are cores free: `threads=1` makes times steadier."
        )
    return " ".join(sentences)

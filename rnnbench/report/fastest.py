"""What `rnnbench.fastest` returns: a module, which says in which way each shape runs."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from rnnbench.analysis.summary import SHARED
from rnnbench.report.screen.progress import shown_rounds
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import MISSING, duration, in_words, ratio_with_interval
from rnnbench.speedup.kept.manifest import KeptWays
from rnnbench.speedup.kept.saving import save
from rnnbench.speedup.run_in_ways import RunInWays
from rnnbench.speedup.ways import AS_GIVEN, SHAPE
from rnnbench.text import plural

WAY_COLUMNS = ("batch_size", "seq_len", "phase", "threads", "way")


def described(module_text: str, ways: pd.DataFrame) -> str:
    """Return a line for the module, and one for each shape of its table of ways."""
    lines = [f"Fastest way to run {one_line(module_text)}"]
    for _, rows in ways.groupby(list(SHAPE), sort=False):
        chosen: Any = next(rows[rows["is_chosen"]].itertuples())
        phase = chosen.phase + (f" in {chosen.dtype}" if "autocast" in chosen.dtype else "")
        way = chosen.way
        if is_timed := math.isfinite(chosen.seconds):
            way += f", {duration(chosen.seconds)}"
        if is_timed and chosen.way != AS_GIVEN:
            way += f", {ratio_with_interval(chosen.ratio, chosen.ratio_low, chosen.ratio_high)} the time as given"
            way += f", {SHARED}" if chosen.state == SHARED else ""
        if is_timed and not chosen.is_sure:
            way += "; another way may be faster: give it more time"
        threads = plural(int(chosen.threads), "thread")
        way += _price(chosen)
        lines.append(f"  batch {chosen.batch_size}, length {chosen.seq_len}, {phase}, {threads}: {way}")
        refused = rows[rows["reason"] != ""]
        noted = rows[rows["note"] != ""]
        lines += [f"    {row.way} is not used: {one_line(row.reason)}" for row in refused.itertuples()]
        lines += [f"    {row.way}: {one_line(row.note)}" for row in noted.itertuples()]
    return "\n".join([*lines, "  any other call: as given"])


def compared_in_words(rows: pd.DataFrame, columns: Sequence[str] = ("way",)) -> pd.DataFrame:
    """Return the ways that were timed, of each shape the fastest first, as a reader sees them.

    `columns`: of the rows that come first.
    """
    sizes = [name for name in columns if name != "way"]
    timed = rows[rows["seconds"].notna()].sort_values([*sizes, "ratio"], kind="stable")
    words = in_words(timed[[*columns, "seconds", "ratio", "ratio_low", "ratio_high"]])
    words["largest error"] = [MISSING if math.isnan(error) else f"{error:.1e}" for error in timed["error"]]
    words["compiled in"] = timed["compile_seconds"].map(duration)
    words["pays off after"] = timed["break_even_calls"].map(_calls)
    return words


def _calls(number: float) -> str:
    if math.isnan(number):
        return MISSING
    return "never" if math.isinf(number) else plural(int(number), "call")


def _price(chosen: Any) -> str:
    """Say what compiling a way has cost, and after how many calls it pays off; empty for a way that is not compiled."""
    cost = chosen.compile_seconds
    if not math.isfinite(cost):
        return ""
    is_paid = math.isfinite(chosen.break_even_calls)
    calls = f", which {plural(int(chosen.break_even_calls), 'call')} pay for" if is_paid else ""
    return f"; compiled in {duration(cost)}{calls}"


def described_kept(kept: KeptWays) -> list[str]:
    """Return a line for each shape that a folder keeps, with the seconds of compiling."""
    lines = []
    for shape in kept.shapes:
        about = f"compiled in {duration(shape.compile_seconds)}" if shape.compile_seconds else "needs no compiled code"
        if shape.packages and not shape.compile_seconds:
            about = "by the code of another shape"
        if shape.reason and not shape.packages:
            about = f"not compiled: {one_line(shape.reason)}"
        lines.append(f"  kept: batch {shape.batch_size}, length {shape.seq_len}, {shape.way}, {about}")
    return lines


class FastestModule(RunInWays):
    """Run the given module's weights in the way that was fastest for each shape.

    It is called as torch.nn's layers are, `module(input, state=None) -> (outputs, state)`. Parameters, buffers and
    submodules are those of the given module, under their own names. `frame` has what was measured: a row for each
    shape and way, times in seconds per call.
    """

    def save(self, folder: str | Path, *, progress: bool = True) -> Path:
        """Keep the fastest ways in a new folder, for `rnnbench.load_fastest` in another process on such a machine.

        Each shape that was measured for inference on the CPU gets a package of compiled code, unless it runs as a layer
        of torch.nn or as given. The code is compiled anew, since it has another form than torch.compile's: some 10 s
        for each piece of 64 steps. The folder has the weights as they are now; a module that is loaded from it can get
        others by `load_state_dict`, and runs the kept shapes alone, in evaluation mode.

        Args:
            folder: Its name; nothing but an empty folder may be there.
            progress: Whether to show the progress on a terminal and in a notebook.

        Returns:
            The path of the folder.

        Raises:
            UserError: The folder exists or can't be written, or nothing can be kept: no inference on a CPU was
                measured, or all shapes run as given and the module's class can't be built anew.
        """
        with shown_rounds(is_wanted=progress) as on_progress:
            save(self._run, self.frame, Path(folder), on_progress)
        return Path(folder)

    def __repr__(self) -> str:
        """Say which way runs which shape."""
        return described(self._name(), self.frame)

    def _repr_html_(self) -> str:
        """Say which way runs which shape, and show the times of all ways."""
        first, *more = described(self._name(), self.frame).split("\n")
        timed = self.frame[self.frame["seconds"].notna()]
        rows = compared_in_words(timed, WAY_COLUMNS).to_html(index=False)
        paragraphs = "".join(f"<p>{escape(line.strip())}</p>" for line in more)
        return f"<p><b>{escape(first)}</b></p>{paragraphs}{rows if len(timed) else ''}"

    def _name(self) -> str:
        text = repr(self._run.given)
        return type(self._run.given).__name__ if "\n" in text else text

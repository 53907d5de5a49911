"""What `rnnbench.explain(...)` gives: words, the breakdown as a frame, and figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from rnnbench.analysis.breakdown import frame
from rnnbench.analysis.gap import Gap
from rnnbench.report.figures import figure_breakdown, figure_memory, figure_waterfall, flame
from rnnbench.report.notebook.measured import Measured
from rnnbench.report.tables import table_operators
from rnnbench.report.words import why
from rnnbench.store.profiles import Profile
from rnnbench.store.regular_files import within


@dataclass(frozen=True, repr=False)
class Explained:
    """Why each module takes as long as it does against the reference; printed, it is `words` for each.

        found = rnnbench.explain({"mine": mine, "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64), folder="why")
        print(found)
        found.plot("mine").savefig("waterfall.svg")

    Methods that take a `name` raise KeyError for one that is none of the modules'.
    """

    measured: Measured  # what `rnnbench.measure` gives
    profiles: Mapping[str, Profile]  # by module
    gaps: Mapping[str, Gap]  # by module, the reference left out
    folder: Path | None = None  # where traces and stacks are

    @property
    def reference(self) -> str:
        """What the others are held against."""
        return str(self.measured.attrs["reference"])

    @property
    def breakdown(self) -> pd.DataFrame:
        """A row for each module, part and kind of work: `seconds` a call with their 95% interval, `share`, counts."""
        return frame(self.profiles)

    def words(self, name: str) -> str:
        """Why one module is slower, in a few sentences; raises KeyError for the reference and for what is none."""
        return why.words(self.gaps[name], name, self.reference, self.profiles[name])

    def operators(self, name: str) -> pd.DataFrame:
        """The operators of one module, those that take longest first."""
        table = table_operators.render(self.profiles[name], name)
        return pd.DataFrame() if table is None else table.frame

    def plot(self, name: str | None = None) -> Figure | None:
        """The waterfall from one module down to the reference; without a name all modules' breakdowns."""
        if name is None:
            return figure_breakdown.render(self.profiles)
        return figure_waterfall.render(self.gaps[name], name, self.reference)

    def plot_memory(self, name: str) -> Figure | None:
        """The bytes that a call of one module holds, from its start to its end."""
        return figure_memory.render(self.profiles[name])

    def flame_graph(self, name: str) -> str | None:
        """An SVG of the stacks of one module; None without a folder, or where there are none."""
        stacks = self.profiles[name].files.get("stacks")
        file = None if self.folder is None or stacks is None else within(self.folder, stacks)
        return None if file is None else flame.render(flame.read(file), name)

    def __repr__(self) -> str:
        failed = [f"{name} is not profiled: {one.reason}" for name, one in self.profiles.items() if not one.works]
        return "\n\n".join([*map(self.words, self.gaps), *failed])

    def _repr_html_(self) -> str:
        return "".join(f"<p>{escape(one)}</p>" for one in repr(self).split("\n\n"))

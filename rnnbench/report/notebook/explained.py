"""What `rnnbench.explain(...)` returns: words, the breakdown as a frame, and figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from rnnbench.profiling.breakdown import frame
from rnnbench.profiling.gap import Gap, cause_frame
from rnnbench.report import why
from rnnbench.report.figures.drawing.sheet import returned
from rnnbench.report.notebook.frame_result import FrameResult, paragraphs
from rnnbench.report.notebook.measured import Measured
from rnnbench.store.profiles import Profile


@dataclass(frozen=True, repr=False, eq=False)
class Explained(FrameResult):
    """Why the time of each module differs from the reference's; printing it shows `words` for each.

        explained = rnnbench.explain({"mine": mine, "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64), folder="why")
        print(explained)
        explained.plot("mine").savefig("waterfall.svg")

    Its frames are those of `rnnbench.measure` (`frame`, `rounds`, `environment`), `causes` and `breakdown`. Methods
    that take a `name` raise KeyError if no module has that name.
    """

    FRAMES = ("frame", "causes", "breakdown", "rounds", "environment")

    measured: Measured  # what `rnnbench.measure` returns
    profiles: Mapping[str, Profile]  # by module
    gaps: Mapping[str, Gap]  # by module, without the reference
    folder: Path | None = None  # where traces are

    @property
    def reference(self) -> str:
        """The name of the module that the others are compared with."""
        return self.measured.reference

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each module: times, ratios, parity."""
        return self.measured.frame

    @property
    def rounds(self) -> pd.DataFrame:
        """A row for each module and round."""
        return self.measured.rounds

    @property
    def environment(self) -> pd.DataFrame:
        """A row for each fact about the machine and the software."""
        return self.measured.environment

    @property
    def causes(self) -> pd.DataFrame:
        """A row for each step from a module's time to the reference's, the last for what nothing explains.

        `module`; `label` of the step as in figures, its `kind`, and `what` it is; `seconds` that it takes of the
        difference and `share` of it, each with a 95% interval (`_low`, `_high`); `calls` in which it happens;
        `is_certain`: whether it is beyond chance.
        """
        causes = cause_frame(self.gaps)
        causes.insert(1, "label", [why.label(step) for gap in self.gaps.values() for step in gap.by_size])
        return causes

    @property
    def breakdown(self) -> pd.DataFrame:
        """A row for each module, part and kind of work: `seconds` per call with their 95% interval, `share`, counts."""
        return frame(self.profiles)

    def words(self, name: str) -> str:
        """Why one module is slower, in a few sentences; raises KeyError for the reference and for unknown names."""
        return why.words(self.gaps[name], name, self.reference, self.profiles[name])

    def operators(self, name: str) -> pd.DataFrame:
        """The operators of one module, those that take longest first."""
        table = why.operators_table(self.profiles[name], name)
        return pd.DataFrame() if table is None else table.frame

    def plot(self, name: str | None = None, ax: Axes | None = None) -> Any:
        """The waterfall from one module down to the reference; without a name, the breakdowns of all modules.

        Draws on `ax`, if given, in the style in force, and returns it. Raises ValueError if no module was profiled.
        """
        if name is not None:
            return returned(why.waterfall(self.gaps[name], name, self.reference, ax=ax), ax)
        figure = why.breakdowns(self.profiles, ax=ax)
        if figure is None:
            raise ValueError("nothing to show: no module could be profiled")
        return returned(figure, ax)

    def trace(self, name: str) -> Path | None:
        """The trace of one module's call, for https://ui.perfetto.dev; None without a folder, or if it failed."""
        file = self.profiles[name].files.get("trace")
        return None if self.folder is None or file is None else self.folder / file

    def __repr__(self) -> str:
        failed = [
            f"{name} is not profiled: {profile.reason}" for name, profile in self.profiles.items() if not profile.works
        ]
        return "\n\n".join([*map(self.words, self.gaps), *failed])

    def _repr_html_(self) -> str:
        return paragraphs(repr(self))

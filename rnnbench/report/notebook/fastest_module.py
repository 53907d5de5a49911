"""What `rnnbench.fastest(...)` returns."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from rnnbench.report.figures import figure_ways
from rnnbench.report.figures.drawing.sheet import returned
from rnnbench.report.words.fastest import described
from rnnbench.speedup.module import RunInWays, row


class FastestModule(RunInWays):
    """The given module's weights, run in the way that was fastest for each shape.

    It is called as torch.nn's layers are, `module(input, state=None) -> (outputs, state)`. Parameters, buffers and
    submodules are those of the given module, under their own names.
    """

    @property
    def frame(self) -> pd.DataFrame:
        """What was measured: a row for each shape and way, times in seconds per call."""
        return pd.DataFrame([row(timed) for timed in self.timed])

    def plot(self, ax: Axes | None = None) -> Any:
        """The time of each way at each shape as a figure, which a notebook shows; `savefig(path)` keeps it.

        Draws on `ax`, if given, in the style in force, and returns it. Raises ValueError if nothing was timed, because
        the ways were given.
        """
        return returned(figure_ways.render(self.frame, self._given_text(), ax=ax), ax)

    def __getattr__(self, name: str) -> Any:
        """As torch's modules; names what has taken the place of `table`."""
        if name == "table":
            raise AttributeError("a FastestModule has no table any more: what was measured is in .frame")
        return super().__getattr__(name)

    def __repr__(self) -> str:
        """Which way runs which shape."""
        return described(self._given_text(), self.timed, is_random_in_training=self._is_random_in_training())

    def _given_text(self) -> str:
        """The given module in a line: its class alone if torch needs several."""
        text = repr(self._given)
        return type(self._given).__name__ if "\n" in text else text

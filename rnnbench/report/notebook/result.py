"""What the functions of `import rnnbench` return: frames, a figure, and a short text."""

import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from rnnbench.report.words.units import MISSING, count, duration, ratio
from rnnbench.text import plural

MAX_ROWS = 20  # of a frame that is printed or shown in a notebook
FORMATS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("seconds", "seconds_low", "seconds_high", "mean_seconds"), duration),
    **dict.fromkeys(("ratio", "ratio_low", "ratio_high", "mean_ratio"), ratio),
    "parameters": count,
}

Frame = pd.DataFrame | Callable[[], pd.DataFrame]


class FrameResult:
    """What `measure`, `sweep`, `explain`, `load` and `compare` return; printing it shows the answer.

        result = rnnbench.measure({"mine": mine, "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64))
        result.frame["ratio"]
        result.plot(width=3.35).savefig("ratio.pdf")

    `frame` is the most important frame: a row for each module or case, its sizes first, then `seconds`, `ratio` and
    their 95% intervals (`_low`, `_high`), and `parity`, whether the output agrees with the reference's. `frames` has
    all frames by name, and each is an attribute too; `note` says what to know about the numbers. The docstring of the
    function says what else there is. Frames are plain pandas frames, and each is made when it is first used.
    """

    def __init__(
        self,
        frames: Mapping[str, Frame],
        draw: Callable[..., Any],
        note: str,
        columns: Sequence[str] = (),
        **facts: Any,
    ) -> None:
        """Hold frames, or functions that make them; `facts` become attributes.

        `draw`: makes the figure, with the arguments of `plot`; `columns`: those of `frame` that are shown.
        """
        self._frames, self._draw, self._columns = dict(frames), draw, list(columns)
        self.note, self.facts = note, facts
        self.__dict__.update(facts)

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """All frames, by name."""
        return {name: getattr(self, name) for name in self._frames}

    def __getattr__(self, name: str) -> Any:
        """Return a frame, which is made at its first use; `facts` are found before."""
        frames = self.__dict__.get("_frames", {})
        if name not in frames:
            hint = f"; it is no frame but holds some: use .frame.{name}" if hasattr(pd.DataFrame, name) else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")
        frame = frames[name]
        self.__dict__[name] = frame() if callable(frame) else frame
        return self.__dict__[name]

    def __getitem__(self, key: object) -> Any:
        """Raise TypeError that names the frame."""
        raise TypeError(f"{type(self).__name__} is no frame but holds some: use .frame[{key!r}]")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._frames})

    def plot(self, *args: Any, **how: Any) -> Any:
        """Return the figure, which a notebook shows; `savefig(path)` keeps it.

        `ax`: draw on these axes, in the style in force, and return them; `width` and `height` in inches: 3.35 fits a
        column of a paper. The docstring of the function that gave the result names the other arguments. Raises
        ValueError if there is nothing to show.
        """
        from matplotlib.axes import Axes

        if args and isinstance(args[-1], Axes):
            *args, how["ax"] = args  # type: ignore[assignment]
        figure = self._draw(*args, **how)
        if figure is None:
            raise ValueError("nothing to show: nothing was measured that this figure needs")
        return figure if how.get("ax") is None else how["ax"]

    def _table(self) -> pd.DataFrame:
        """Return the first rows of the shown columns as text, with units."""
        shown = self.frame[list(self._columns)].head(MAX_ROWS)
        texts = {
            name: [MISSING if pd.isna(value) else FORMATS.get(name, str)(value) for value in shown[name]]
            for name in shown.columns
        }
        return pd.DataFrame(texts, index=shown.index)

    def _lines(self) -> list[str]:
        """Return the lines of the note, after how many rows are not shown."""
        hidden = len(self.frame) - MAX_ROWS if self._columns else 0
        return [*([f"{plural(hidden, 'more row')}: .frame has all.", ""] if hidden > 0 else []), *self.note.split("\n")]

    def __repr__(self) -> str:
        width = shutil.get_terminal_size((120, 24)).columns
        text = "\n".join(textwrap.fill(line, width) for line in self._lines())
        if not self._columns:
            return text
        return f"{self._table().to_string(line_width=width, index=self.frame.index.name is not None)}\n\n{text}"

    def _repr_html_(self) -> str:
        rows = self._table().to_html(index=self.frame.index.name is not None) if self._columns else ""
        return rows + "".join(f"<p>{escape(line)}</p>" for line in self._lines() if line)

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
    **dict.fromkeys(("ratio", "ratio_low", "ratio_high", "base_ratio", "head_ratio", "mean_ratio"), ratio),
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
        self._frames, self._draw, self._columns = dict(frames), draw, columns
        self.note, self.facts = note, facts

    @property
    def frame(self) -> pd.DataFrame:
        """The most important frame."""
        return self._frame("frame")

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """All frames, by name."""
        return {name: self._frame(name) for name in self._frames}

    def _frame(self, name: str) -> pd.DataFrame:
        found = self._frames[name]
        if not isinstance(found, pd.DataFrame):
            self._frames[name] = found = found()
        return found

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

    def __getattr__(self, name: str) -> Any:
        """Return a frame or a fact; name the frames for what only a frame has."""
        if not name.startswith("_"):
            if name in self._frames:
                return self._frame(name)
            if name in self.facts:
                return self.facts[name]
            if hasattr(pd.DataFrame, name):
                raise AttributeError(f"a FrameResult is not a DataFrame, but holds some: use .frame.{name}")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __getitem__(self, key: object) -> Any:
        """Raise TypeError that names the frame."""
        raise TypeError(f"a FrameResult is not a DataFrame, but holds some: use .frame[{key!r}]")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._frames, *self.facts})

    def _shown(self) -> tuple[pd.DataFrame, str]:
        """The first rows of the frame as text, with units, and the note."""
        frame = self.frame[list(self._columns)]
        shown = frame.head(MAX_ROWS)
        texts = {
            name: [MISSING if pd.isna(value) else FORMATS.get(name, str)(value) for value in shown[name]]
            for name in shown.columns
        }
        more = f"{plural(len(frame) - MAX_ROWS, 'more row')}: .frame has all." if len(frame) > MAX_ROWS else ""
        return pd.DataFrame(texts, index=shown.index), "\n\n".join(filter(None, [more, self.note]))

    def __repr__(self) -> str:
        text = self.note
        width = shutil.get_terminal_size((120, 24)).columns
        if len(self._columns):
            table, text = self._shown()
            lines = table.to_string(line_width=width, index=table.index.name is not None)
            text = f"{lines}\n\n{text}"
            head, _, rest = text.partition("\n\n")
            return "\n\n".join([head, *(textwrap.fill(paragraph, width) for paragraph in rest.split("\n\n"))])
        return "\n\n".join(textwrap.fill(paragraph, width) for paragraph in text.split("\n\n"))

    def _repr_html_(self) -> str:
        table, text = self._shown() if len(self._columns) else (None, self.note)
        rows = "" if table is None else table.to_html(index=table.index.name is not None)
        return rows + "".join(f"<p>{escape(paragraph)}</p>" for paragraph in text.split("\n\n"))

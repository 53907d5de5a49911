"""What the functions of `import rnnbench` return: frames by name, a figure, and a short text; needs no torch.

The classes below name what each function's result has, so that an editor completes it.
"""

import shutil
import textwrap
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from rnnbench.analysis.estimate import Estimate
from rnnbench.report.words.units import MISSING, in_words

MAX_PRINTED_ROWS = 20  # of a frame that is printed or shown in a notebook
SMALL = 6.0  # inches: the width of the figure that a notebook shows with a result
Frame = pd.DataFrame | Callable[[], pd.DataFrame]


class FrameResult:
    """What `measure`, `sweep`, `explain`, `load` and `compare` return; printing it shows the answer.

        result = rnnbench.measure({"mine": mine, "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64))
        result.frame["ratio"]
        result.plot(width=3.35).savefig("ratio.pdf")

    `sentence` is the answer, and `note` says what to know about the numbers. `frame` is the most important frame: a row
    for each module or case, its sizes first, then `seconds`, `ratio` and their 95% intervals (`_low`, `_high`), and
    `parity`, whether the output agrees with the reference's. `frames` has all frames by name, and each is an attribute
    too. The docstring of the function says what else there is. Frames are plain pandas frames, and each is made when it
    is first used.
    """

    def __init__(
        self,
        frames: Mapping[str, Frame],
        draw: Callable[..., Any],
        note: str = "",
        columns: Sequence[str] = (),
        *,
        sentence: str = "",
        is_pictured: bool = False,
        table: Callable[[], str] | None = None,
        **facts: Any,
    ) -> None:
        """Hold frames, or functions that make them; `facts` become attributes.

        `draw`: makes the figure, with the arguments of `plot`; `columns`: those of `frame` that are shown;
        `is_pictured`: whether a notebook shows a small figure, too; `table`: makes the table in LaTeX, if that is not
        made of these columns.
        """
        self._frames = dict(frames)
        self._draw = draw
        self._columns = list(columns)
        self._is_pictured = is_pictured
        self._table = table
        self.sentence = sentence
        self.note = note
        self.facts = facts
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
        figure = self._draw(*args, **how)
        if figure is None:
            raise ValueError("nothing to show: this figure needs a ratio or, along a size, two measured values of it")
        return figure if how.get("ax") is None else how["ax"]

    def to_latex(self) -> str:
        r"""Return the rows as a table in LaTeX for `\usepackage{booktabs}`: times, ratios and their 95% intervals.

        The caption says what was measured where. It fits an article of two columns; many rows are several tables.
        """
        if self._table is not None:
            return self._table()
        from rnnbench.report import paper  # matplotlib, which takes seconds

        return paper.latex(self.frame, self._columns, self.facts, self.__dict__["_frames"].get("environment"))

    def save(self, folder: str | Path, **how: Any) -> Path:
        """Write all files of the result into a folder, which is new, empty, or one that rnnbench made; return it.

            found = rnnbench.measure({"mine": mine, "torch": nn.LSTM(64, 128)}, torch.randn(32, 8, 64))
            found.save("lstm", width=3.35)

        `table.tex` is that of `to_latex()`, `figure.pdf` and `figure.png` are the figure of `plot(**how)` if there is
        one, `note.txt` is the answer with its note, and each frame is a CSV file; those of a stored run that are made
        when they are used, such as `windows`, stay out. Raises `rnnbench.UserError` if the folder holds files of
        others.
        """
        from rnnbench.report import paper  # matplotlib, which takes seconds

        frames = {name: getattr(self, name) for name, frame in self._frames.items() if not callable(frame)}
        figure = self._draw(**how)
        text = "\n\n".join(filter(None, [self.sentence, self.note]))
        return paper.save(Path(folder), paper.files(frames, figure, self.to_latex(), text))

    def _rows(self, form: Literal["to_string", "to_html"], **how: Any) -> str:
        """Return the shown columns with units, the first and last rows of many; empty if none are shown."""
        if not self._columns:
            return ""
        rows = in_words(self.frame[self._columns])
        how |= {"index": rows.index.name is not None, "max_rows": MAX_PRINTED_ROWS, "show_dimensions": "truncate"}
        return str(getattr(rows, form)(na_rep=MISSING, **how))

    def __repr__(self) -> str:
        """Return the answer, the rows, and what to know about them."""
        width = shutil.get_terminal_size((120, 24)).columns

        def filled(text: str) -> str:
            return "\n".join(textwrap.fill(line, width) for line in text.split("\n"))

        parts = [filled(self.sentence), self._rows("to_string", line_width=width), filled(self.note)]
        return "\n\n".join(filter(None, parts))

    def _repr_html_(self) -> str:
        """Return the answer, a small figure, the rows, and what to know about them."""
        return "".join(
            [_paragraphs(self.sentence, "b"), self._picture(), self._rows("to_html"), _paragraphs(self.note)]
        )

    def _picture(self) -> str:
        """Return the small figure; empty if there is nothing to show, or none is wanted."""
        figure = self._draw(width=SMALL) if self._is_pictured else None
        if figure is None:
            return ""
        from rnnbench.report.drawing import pictures  # matplotlib, which takes seconds

        content = b64encode(pictures.png(figure)).decode()
        return f'<img alt="" style="max-width: 100%; width: {SMALL}in" src="data:image/png;base64,{content}">'


def _paragraphs(text: str, tag: str = "span") -> str:
    """Return the lines of a text as paragraphs of HTML."""
    return "".join(f"<p><{tag}>{escape(line)}</{tag}></p>" for line in text.split("\n") if line)


class MeasureResult(FrameResult):
    """What `rnnbench.measure` returns."""

    frame: pd.DataFrame  # a row for each module
    replicates: pd.DataFrame  # for each module and replicate
    environment: pd.DataFrame  # `what` and `value`
    reference: str
    phase: str
    device: str
    threads: int
    axes: tuple[str, ...]


class NotSlowerResult(MeasureResult):
    """What `rnnbench.assert_not_slower` returns."""

    answer: Literal["slower", "not slower"] | None  # None: neither could be shown
    factor: float
    state: str  # of the core: `undisturbed`, `on a shared core`, or empty
    ratio: Estimate  # time of `mine` over time of `than`, for the typical call
    mean_ratio: Estimate  # for the mean of all calls
    calls: int
    took_seconds: float
    budget_seconds: float


class ExplainResult(MeasureResult):
    """What `rnnbench.explain` returns."""

    causes: pd.DataFrame  # of each module's gap
    breakdown: pd.DataFrame  # where the time of a call goes
    operators: pd.DataFrame
    words: Callable[[str], str]  # why one module is slower
    trace: Callable[[str], Path | None]
    profiles: Mapping[str, Any]
    gaps: Mapping[str, Any]


class SweepResult(FrameResult):
    """What `rnnbench.sweep` returns."""

    frame: pd.DataFrame  # a row for each module and combination of sizes
    replicates: pd.DataFrame
    environment: pd.DataFrame
    axes: tuple[str, ...]  # the sizes
    reference: str


class RunsResult(FrameResult):
    """What `rnnbench.load` returns."""

    frame: pd.DataFrame  # a row for each case
    windows: pd.DataFrame
    replicates: pd.DataFrame
    steps: pd.DataFrame  # of streams
    environment: pd.DataFrame
    names: tuple[str, ...]  # of the runs
    paths: tuple[Path, ...]


class ChangesResult(FrameResult):
    """What `rnnbench.compare` returns."""

    frame: pd.DataFrame  # a row for each case, the worst first

"""What `rnnbench.sweep(...)` returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from matplotlib.axes import Axes

from rnnbench.harness.live.outputs import NOT_FINITE
from rnnbench.harness.live.sweep import SweptPoint
from rnnbench.report.figures import figure_swept
from rnnbench.report.figures.drawing.sheet import returned
from rnnbench.report.notebook.frame_result import FrameResult, folded, paragraphs
from rnnbench.report.notebook.measured import Measured, measured, written
from rnnbench.store.frames import category
from rnnbench.suite_file import Settings
from rnnbench.text import plural


@dataclass(frozen=True, repr=False, eq=False)
class SweptModules(FrameResult):
    """The times of live modules over sizes: what `rnnbench.sweep` returns.

    `frame` has a row for each module at each combination of sizes: the sizes, `phase` and `threads` as columns,
    `module`, and the columns of `rnnbench.measure`'s frame; `status` (`measured` or `failed`) and `reason`.
    `rounds` has a row for each module, combination and round. `environment` is that of `rnnbench.measure`.
    """

    FRAMES = ("frame", "rounds", "environment")

    frame: pd.DataFrame
    rounds: pd.DataFrame
    environment: pd.DataFrame
    axes: tuple[str, ...]  # the sizes, `phase` and `threads`
    reference: str
    note: str

    def plot(
        self,
        name: Literal["ratio", "scaling"] = "ratio",
        ax: Axes | None = None,
        *,
        frame: pd.DataFrame | None = None,
        along: str | None = None,
    ) -> Any:
        """Draw all modules over a size as a figure, which a notebook shows; `savefig(path)` keeps it.

        `name`: `ratio`, or `scaling` for the times, those of the reference too. `frame`: the rows of `.frame` to draw,
        by default all. `along`: the size below the figure, by default the one with the most values. Draws on `ax`, if
        given, in the style in force, and returns it. Raises ValueError if nothing was measured, if no size is a number,
        or if there are too many lines or panels; the message says what to select.
        """
        if not isinstance(name, str) or name not in ("ratio", "scaling"):
            raise ValueError("name: expected 'ratio' or 'scaling'; to draw some rows, give frame=rows")

        value: Literal["ratio", "seconds"] = "ratio" if name == "ratio" else "seconds"
        rows = self.frame if frame is None else frame
        return returned(figure_swept.render(rows, self.axes, ax=ax, value=value, along=along), ax)

    def __repr__(self) -> str:
        return f"{written(self._shown()).to_string(index=False)}\n\n{folded(self.note)}"

    def _repr_html_(self) -> str:
        return f"{written(self._shown()).to_html(index=False)}\n{paragraphs(self.note)}"

    def _shown(self) -> pd.DataFrame:
        """The frame without what is the same in all rows."""
        varied = [axis for axis in self.axes if self.frame[axis].nunique(dropna=False) > 1]
        columns = [*varied, "module", "seconds", "ratio", "ratio_low", "ratio_high", "parity"]
        return self.frame[columns + (["reason"] if self.frame["reason"].any() else [])]


def swept(points: Sequence[SweptPoint], modules: Sequence[str], settings: Settings, expected: int) -> SweptModules:
    """The result of a sweep, as frames; `expected`: the points that there would be without Ctrl-C.

    Raises RuntimeError if every point failed.
    """
    known = [
        (point, measured(point.found, point.sizes["phase"], settings)) for point in points if point.found is not None
    ]
    failed = [point for point in points if point.found is None]
    if not known:
        raise RuntimeError(f"all {plural(len(failed), 'combination')} failed; the first: {failed[0].reason}")
    rows = [_sized(point, _without_unsound(result.frame.reset_index())) for point, result in known]
    rows += [
        _sized(point, pd.DataFrame({"module": list(modules)})).assign(status="failed", reason=point.reason)
        for point in failed
    ]
    frame = pd.concat([part for part in rows if len(part)], ignore_index=True)
    axes = tuple(points[0].sizes)
    order = {tuple(point.sizes.values()): number for number, point in enumerate(points)}
    numbers = [order[values] for values in frame[list(axes)].itertuples(index=False, name=None)]
    frame = frame.iloc[pd.Series(numbers).argsort(kind="stable")].reset_index(drop=True)
    _, first = known[0]
    unsound = frame[frame["status"] == "failed"]
    rounds = [_sized(point, result.rounds) for point, result in known]
    return SweptModules(
        _with_kinds(frame, axes),
        _with_kinds(pd.concat(rounds, ignore_index=True), axes),
        first.environment,
        axes,
        first.reference,
        _note(known, len(unsound[list(axes)].drop_duplicates()), len(points), expected),
    )


def _without_unsound(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a point without the numbers of modules that give NaN: these have failed, as in a run."""
    is_unsound = frame["parity"].str.contains(NOT_FINITE)
    numbers = [str(column) for column in frame if frame[column].dtype.kind in "fiu" and column != "parameters"]
    status = is_unsound.map({True: "failed", False: "measured"})
    return frame.assign(
        **{column: frame[column].where(~is_unsound) for column in numbers},
        status=status,
        reason=frame["parity"].where(is_unsound, ""),
    )


def _sized(point: SweptPoint, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the sizes of its point as its first columns."""
    sizes = pd.DataFrame({name: [value] * len(frame) for name, value in point.sizes.items()})
    return pd.concat([sizes, frame], axis=1)


def _with_kinds(frame: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame:
    """The frame with text axes and modules as categories."""
    texts = [axis for axis in (*axes, "module", "status") if axis in frame and isinstance(frame[axis].iloc[0], str)]
    return frame.assign(**{name: category(frame[name]) for name in texts})


def _note(known: Sequence[tuple[SweptPoint, Measured]], failed: int, points: int, expected: int) -> str:
    notes = list(dict.fromkeys(result.note for _, result in known))
    said = notes[0] if len(notes) == 1 else (notes[0].split(". Wider")[0] if notes else "")
    more = dict.fromkeys(text for point, _ in known if point.found is not None for text in point.found.notes)
    parts = [f"Interrupted after {points} of {plural(expected, 'combination')}."] if points < expected else []
    parts += [said.rstrip(".") + "." if said else "", *(text for text in more if text not in said)]
    parts += [f"{plural(failed, 'combination')} failed; `reason` says why." if failed else ""]
    return " ".join(filter(None, parts))

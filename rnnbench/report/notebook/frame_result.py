"""What all results share: plain frames, text and HTML, and errors that say where a frame is."""

import shutil
import textwrap
from html import escape
from typing import Any

import pandas as pd


class FrameResult:
    """The result of a function of rnnbench. Its frames are plain pandas frames; the result is none itself."""

    FRAMES: tuple[str, ...] = ("frame",)  # the attributes that are frames, the most important first

    def __getattr__(self, name: str) -> Any:
        """Raise AttributeError that names the frame, for what only a frame has."""
        if not name.startswith("_") and hasattr(pd.DataFrame, name):
            frames = " or ".join(f".{frame}.{name}" for frame in self.FRAMES[:2])
            raise AttributeError(f"a {type(self).__name__} is not a DataFrame, but holds some: use {frames}")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __getitem__(self, key: object) -> Any:
        """Raise TypeError that names the frame."""
        frames = " or ".join(f".{frame}[{key!r}]" for frame in self.FRAMES[:2])
        raise TypeError(f"a {type(self).__name__} is not a DataFrame, but holds some: use {frames}")

    def __dir__(self) -> list[str]:
        """What a notebook completes."""
        return sorted({*super().__dir__(), *self.FRAMES})


def folded(text: str) -> str:
    """Paragraphs, as wide as the terminal."""
    width = shutil.get_terminal_size((120, 24)).columns
    return "\n\n".join(textwrap.fill(paragraph, width) for paragraph in text.split("\n\n"))


def paragraphs(text: str) -> str:
    """The same as HTML."""
    return "".join(f"<p>{escape(paragraph)}</p>" for paragraph in text.split("\n\n"))

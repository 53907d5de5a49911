"""The rows of figures that a check returns."""

from typing import Any

# `holds`: whether the figures are as they must be; None if they are only reported.
Row = dict[str, Any]

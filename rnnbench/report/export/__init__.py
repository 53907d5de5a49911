"""A run in the formats of other tools: a module for each format, and `formats.py` with the table of all."""

from rnnbench.report.export.formats import FORMATS, notes, rendered, rendered_check

__all__ = ["FORMATS", "notes", "rendered", "rendered_check"]

"""Time the user's modules in the user's own process: the work of `rnnbench.measure(...)`."""

from rnnbench.harness.live.measuring import SILENT, Found, RoundsDisplay, measure, ready, timed

__all__ = ["SILENT", "Found", "RoundsDisplay", "measure", "ready", "timed"]

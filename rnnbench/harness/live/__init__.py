"""Time the user's modules in the user's own process: the work of `rnnbench.measure(...)`."""

from rnnbench.harness.live.measuring import SILENT, MeasuredModules, RoundsDisplay, measure, ready, timed

__all__ = ["SILENT", "MeasuredModules", "RoundsDisplay", "measure", "ready", "timed"]

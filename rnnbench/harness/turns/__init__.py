"""Timing and turns: calibration and windows, the order of cases, and how many replicates are enough."""

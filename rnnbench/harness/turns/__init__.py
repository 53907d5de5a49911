"""The clock and who gets a turn: calibration and windows, the order of cases, and when there are enough replicates."""

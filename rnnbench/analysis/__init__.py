"""Arrays and frames in; estimates, ratios and verdicts out. Pure functions, no torch."""

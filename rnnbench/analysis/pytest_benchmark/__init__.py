"""pytest-benchmark's files: groups, times and ratios, and two sides against each other."""

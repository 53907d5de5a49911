"""A run, from its windows to one row for each case: times, ratios, limits, latencies, noise."""

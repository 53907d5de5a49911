"""Whether two runs were made on one machine and in one environment."""

"""Does a case do the work of its reference? Compared before it is timed and again afterwards."""

"""How things are said: units, axes, names, and every sentence of a report. It draws nothing."""

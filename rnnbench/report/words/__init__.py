"""The wording of reports: units, axes, names, and every sentence. Nothing here draws."""

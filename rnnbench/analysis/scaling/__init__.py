"""How time grows with sizes: a fit for each series, its error where nothing was fitted, and predictions."""

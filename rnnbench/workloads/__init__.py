"""How a cell becomes a timed call: sequence model and head, data sets, implementations, phases."""

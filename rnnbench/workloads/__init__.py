"""How a cell becomes a timed call: sequence model and head, implementations, phases."""

"""The data sets that a model is fed from, and the two ways to load them: item by item, and whole batches at once."""

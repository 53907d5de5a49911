"""What training does beside the model: the parts of a step, and whole epochs."""

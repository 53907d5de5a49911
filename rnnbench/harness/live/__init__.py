"""Time the user's modules in the user's own process."""

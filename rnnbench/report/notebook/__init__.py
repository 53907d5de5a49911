"""What `rnnbench.measure` and `rnnbench.explain` return."""

"""What `rnnbench check` and `rnnbench compare` say: one file for each output, all from one `Comparison`."""

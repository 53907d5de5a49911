"""What `rnnbench check`, `compare` and `bisect` say, in every output."""

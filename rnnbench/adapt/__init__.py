"""Other people's modules: what they are, how they are built and called, and what state they keep."""

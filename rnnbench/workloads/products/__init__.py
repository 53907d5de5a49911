"""Matrix products: the libraries that can make them, which one is fastest, and compiled graphs that use it."""

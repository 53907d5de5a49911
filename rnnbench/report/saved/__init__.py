"""A report of files that pytest-benchmark wrote: benchmarks by the names that their authors gave them."""

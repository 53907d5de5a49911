"""Where the time between a cell and its reference goes: a profiled call taken apart, and the gap between two."""

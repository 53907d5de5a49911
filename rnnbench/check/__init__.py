"""Base and head: the code of each side, and the measurements for the verdict."""

"""A cell to start from: a small file that works, and a suite that measures it."""

from rnnbench.new_cell.files import render, write_cell, write_suite

__all__ = ["render", "write_cell", "write_suite"]

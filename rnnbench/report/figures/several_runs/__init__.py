"""Figures of several runs, or of several checks."""

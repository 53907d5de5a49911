"""Recurrences that no layer of torch.nn computes; each is timed against the nearest one."""

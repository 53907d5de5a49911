"""Which axes are never pooled."""

CONTEXT = ("device", "dtype", "workers")  # a median over CPU and GPU would describe neither

"""Base and head: which code each side is, and the verdict's measurements."""

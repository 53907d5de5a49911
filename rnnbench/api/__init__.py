"""The functions of `import rnnbench`: `live` for modules of the caller's process, `stored` for runs."""

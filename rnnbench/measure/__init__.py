"""The instruments: what runs workers, gives them turns, and reads the clock.

Called, it times modules: `rnnbench.measure({"mine": ..., "torch": ...}, inputs)`; `help(rnnbench.measure.__call__)`.
"""

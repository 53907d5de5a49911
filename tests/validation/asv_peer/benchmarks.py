"""The planted cases under asv."""

from tests.validation.verdict_peer_cases import bare, cases


class Planted:
    """One benchmark with 24 values of its parameter."""

    params = tuple(cases())
    param_names = ("case",)
    rounds = 1  # each round starts one process for each case, which imports torch
    repeat = (3, 20, 0.7)  # fewest, most, seconds
    sample_time = 0.01
    warmup_time = 0.1

    def setup(self, name: str) -> None:
        """Build the case."""
        self.call = bare(name)

    def time_case(self, name: str) -> None:
        """Call it."""
        self.call()

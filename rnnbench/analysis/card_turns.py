"""What turns of live calls show of a GPU: the rate of its clock, and whether the host kept it waiting.

`turns`: a row for each turn, with the `call`'s name, the `seconds` of its calls, `host_seconds` and `submit_seconds` as
in stored windows, and `sm_clock_mhz`, the rate right after it, NaN if it could not be measured. A processor has none.
"""

import pandas as pd

from rnnbench.analysis.environments import clock_difference
from rnnbench.analysis.summary import launch_bound

TURN_COLUMNS = ["call", "seconds", "host_seconds", "submit_seconds", "sm_clock_mhz"]


def clock_rates(turns: pd.DataFrame) -> dict[str, float]:
    """Return the median rate of the clock beside each call, in MHz; without calls for which it is not known."""
    rates = turns.groupby("call", sort=False)["sm_clock_mhz"].median().dropna()
    return {str(name): float(rate) for name, rate in rates.items()}


def unlike_clocks(turns: pd.DataFrame, reference: str) -> list[str]:
    """Return the calls beside which the clock ran at another rate than beside the reference: by more than 2%."""
    rates = clock_rates(turns)
    return [name for name, rate in rates.items() if clock_difference(rates.get(reference), rate)]


def launch_bound_calls(turns: pd.DataFrame) -> list[str]:
    """Return the calls for which the GPU waits for the host."""
    of_calls = turns.groupby("call", sort=False)
    are_bound = launch_bound(of_calls[["seconds", "host_seconds", "submit_seconds"]].sum(), of_calls.size())
    return [str(name) for name, is_bound in are_bound.items() if is_bound]


def card_notes(turns: pd.DataFrame) -> list[str]:
    """Return sentences on the rate of the clock, and on calls for which the GPU waits; none on a processor."""
    beside = [f"{rate:,.0f} MHz beside {name}" for name, rate in clock_rates(turns).items()]
    clock = [f"The clock of the GPU ran at {', '.join(beside)}."] if beside else []
    return [*clock, *(f"{name} is launch-bound: the GPU waits for the host." for name in launch_bound_calls(turns))]

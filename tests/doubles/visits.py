"""A visit of one side, as a request to a worker."""

from rnnbench.harness import protocol
from rnnbench.harness.turns.schedule import Turns
from rnnbench.store.records import Case

TURNS = Turns(turns=2, blocks=3, calls=2, is_warm=False)


def visit(*cases: Case, turns: Turns = TURNS) -> protocol.Request:
    """Return the request for all turns of these cases, one case after the other."""
    order = [("run", number) for number in range(len(cases)) for _ in range(turns.turns)]
    return protocol.visit(cases, [turns] * len(cases), order, "run", 1.0)

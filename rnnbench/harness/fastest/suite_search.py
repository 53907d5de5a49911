"""The search for the ways of one module that a suite names, in this process."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from rnnbench.cells import CellError
from rnnbench.errors import UserError
from rnnbench.harness.fastest.cases import WantedModule
from rnnbench.harness.fastest.search import find
from rnnbench.harness.fastest.timed_ways import TimedWay
from rnnbench.harness.turns.progress import Progress
from rnnbench.raised import ending, is_interrupt, place
from rnnbench.text import error_in_words, first_line


def find_wanted(
    wanted: WantedModule,
    shapes: Sequence[tuple[int, int]],
    root: Path,
    budget_seconds: float,
    on_progress: Callable[[Progress], None],
) -> tuple[TimedWay, ...]:
    """What was found for a module at its shapes (seq, batch). Raises UserError if it can't be built or run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(wanted.threads)
    try:
        module = wanted.build(root)
        if wanted.phase == "inference":
            module.eval()
        first, *others = shapes
        return find(module, wanted.input(*first), wanted.phase, others, budget_seconds, on_progress).timed
    except (SystemExit, KeyboardInterrupt) as end:
        if is_interrupt(end):
            raise
        raise UserError(f"{wanted.title}: {ending(end)}; a cell must return, or raise another exception") from end
    except (CellError, RuntimeError, TypeError, ValueError) as fault:
        raise UserError(f"{wanted.title}: {first_line(fault) or type(fault).__name__}") from fault
    except Exception as fault:  # whatever a stranger's module raises
        raise UserError(f"{wanted.title}: {error_in_words(fault)}{place(fault)}") from fault
    finally:
        torch.set_num_threads(threads)

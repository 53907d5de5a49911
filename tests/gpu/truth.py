"""`python -m tests.gpu.truth [DEVICE [CHECK...]]`: compare the instruments with independent references.

`clock` against other tools, `launches` against torch's profiler, `energy` against power, `memory` against blocks of
known size. Each check prints its figures. The exit code is 1 if one of them is off. On a CPU the cases are smaller
and checks that need a GPU are left out, with the reason.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd
import torch

from rnnbench.harness import devices
from rnnbench.store.readings import Unavailable
from tests.gpu import clock, joules, launches, memory
from tests.gpu.row import Row
from tests.validation.__main__ import markdown

CHECKS: Mapping[str, Callable[[str], Iterator[Row]]] = {
    "clock": clock.check,
    "launches": launches.check,
    "energy": joules.check,
    "memory": memory.check,
}
SAID = {True: "yes", False: "NO", None: "reported"}


def main(device: str, names: Sequence[str]) -> int:
    """Make the named checks and return whether one is off."""
    if reason := devices.why_not(device):
        print(reason)
        return 1
    torch.set_num_threads(1)
    off = [name for name in names if not holds(name, device)]
    print(f"off: {', '.join(off)}" if off else "all hold")
    return int(bool(off))


def holds(name: str, device: str) -> bool:
    """Make one check, print its figures, and return whether all required ones hold."""
    rows: list[Row] = []
    note = ""
    try:
        rows.extend(CHECKS[name](device))
    except Unavailable as reason:
        note = f"\nnot all was checked: {reason}\n"
    table = pd.DataFrame(rows)
    print(f"## {name}\n")
    if rows:
        print(markdown(table.assign(holds=[SAID[row["holds"]] for row in rows])))
    print(note, flush=True)
    return all(row["holds"] is not False for row in rows)


if __name__ == "__main__":
    chosen = sys.argv[2:] or list(CHECKS)
    if unknown := set(chosen) - set(CHECKS):
        sys.exit(f"no check {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda", chosen))

"""`rnnbench fastest`."""

import sys
from pathlib import Path

import click

from rnnbench.cli import output
from rnnbench.cli.options import DURATION, FILE, SUITE, read_suite, refuse_unseen, selected, suite_names, takes
from rnnbench.errors import UserError


@click.command(short_help="Find the fastest way to run each cell of SUITE.")
@click.argument("suite", metavar="SUITE|FILE.py:CELL|PACKAGE:CELL", type=SUITE, shell_complete=suite_names)
@takes("only")
@click.option("--budget", type=DURATION, default="60s", show_default=True, help="Time for each module and phase.")
@takes("device")
@click.option("--save", type=FILE, metavar="WAYS.csv", help="Write the ways, for `rnnbench.fastest`.  [default: none]")
def fastest(suite: str, only: tuple[str, ...], device: str | None, budget: float, save: Path | None) -> None:
    """Find the fastest way to run each cell and layer of SUITE, or a class at the sizes of the suite `quick`.

    These ways are tried: the cell as given; the input's products for all steps at once (hoisted); the layer of torch.nn
    that computes the same; torch.compile (compiled); torch.compile with each product in the library that is fastest
    here (prepacked). Variants with different results are rejected. The ways are timed in turns, in this process.

    \b
    Examples:
      rnnbench fastest MyGRU.py:MyGRU --only 'hidden_size=128 phase=inference' --save ways.csv
      rnnbench fastest ladder --only 'cell=torch.nn.GRU batch_size=32'

    \b
    Exit codes: 0 a way was found for a module at least; 2 wrong usage, or none was found.
    """
    from rnnbench.suite.cell_suite import is_cell, of_cell

    if save is not None and save.exists():
        raise UserError(f"{save} already exists; give the name of a new file")
    chosen = of_cell(suite, "none", whole=False) if is_cell(suite) else read_suite(suite)
    groups = selected(chosen, only, device)  # refuses a typo before torch is imported
    refuse_unseen(device)

    import pandas as pd

    from rnnbench.project import folders_here
    from rnnbench.report.fastest import described
    from rnnbench.report.page import page
    from rnnbench.report.screen.progress import shown_rounds
    from rnnbench.report.words.names import say_all
    from rnnbench.speedup.search import SIZES, find_wanted, wanted
    from rnnbench.suite.outline import cases_of

    modules, left_out = wanted(cases_of(groups))
    if not modules:
        raise UserError(f"{suite}: nothing to run: {left_out or 'no case is selected'}")
    if save is not None and len({(module.cell, module.workload.hidden_size) for module in modules}) > 1:
        raise click.UsageError("--save writes the ways of one module: choose it with --only 'cell=... hidden_size=...'")
    sys.path += map(str, folders_here())  # this process imports the modules
    found, faults = {}, []
    for module, shapes in modules.items():
        name = f"{module.cell}, {say_all(SIZES, (getattr(module.workload, size) for size in SIZES))}"
        try:
            with shown_rounds() as on_progress:
                found[module] = find_wanted(module, shapes, chosen.file.parent, budget, on_progress)
            output.say(described(name, found[module]))
        except UserError as fault:  # the other cells of the suite can still be searched
            faults.append(f"{name}: {fault}")
    if not found:
        raise UserError("; ".join(dict.fromkeys(faults)))
    for reason in filter(None, [left_out, *faults]):
        output.note(f"left out: {reason}")
    if save is not None:
        page.write(save, pd.concat(found.values()).to_csv(index=False).encode(), save)
        output.say_path(save)

"""`rnnbench fastest`."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rnnbench.cli import output
from rnnbench.cli.options import (
    DURATION_TYPE,
    PATH_TYPE,
    SUITE_TYPE,
    read_suite,
    refuse_unseen,
    selected,
    suite_names,
    takes,
)
from rnnbench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from rnnbench.adapt.kinds import RunModule
    from rnnbench.store.records import Case

TABLE_ENDING = ".csv"  # of the name of a table of ways; any other name is a folder


@click.command(short_help="Find the fastest way to run each cell of SUITE.")
@click.argument("suite", metavar="SUITE|FILE.py:CELL|PACKAGE:CELL", type=SUITE_TYPE, shell_complete=suite_names)
@takes("only")
@click.option("--budget", type=DURATION_TYPE, default="60s", show_default=True, help="Time for each module and phase.")
@takes("device")
@click.option(
    "--save",
    type=PATH_TYPE,
    metavar="DIR|WAYS.csv",
    help="Keep the fastest ways of one module: their compiled code in a new folder, for `rnnbench.load_fastest`, or "
    "their names in a CSV file, for `rnnbench.fastest`.  [default: none]",
)
def fastest(
    suite: str,
    only: tuple[str, ...],
    device: str | None,
    budget: float,
    save: Path | None,
) -> None:
    """Find the fastest way to run each cell and layer of SUITE, or a class at the sizes of the suite `quick`.

    These ways are tried: the cell as given; the input's products for all steps at once (hoisted); the layer of torch.nn
    that computes the same (torch.nn), and that layer in rnnbench's own C (fused); torch.compile (compiled);
    torch.compile with each product in the library that is fastest here (prepacked), on a GPU its modes instead
    (reduce-overhead, max-autotune). Variants with different results are rejected. The ways are timed alternately, in
    this process.

    A folder has the compiled code of each shape for inference on this kind of processor, and random weights:
    `rnnbench.load_fastest(DIR)` loads it without compiling and runs these shapes alone; its `load_state_dict` takes
    your weights.

    \b
    Examples:
      rnnbench fastest MyGRU.py:MyGRU --only 'hidden_size=128 phase=inference' --save my-gru
      rnnbench fastest MyGRU.py:MyGRU --only 'hidden_size=128 phase=inference' --save ways.csv
      rnnbench fastest ladder --only 'cell=torch.nn.GRU batch_size=32'

    \b
    Exit codes: 0 a way was found for a module at least; 2 wrong usage, or none was found.
    """
    from rnnbench.suite.cell_suite import is_cell, of_cell

    is_table = save is not None and save.suffix == TABLE_ENDING
    if is_table and save is not None and save.exists():
        raise UserError(f"{save} already exists; give the name of a new file")
    chosen_suite = of_cell(suite, "none", whole=False) if is_cell(suite) else read_suite(suite)
    groups = selected(chosen_suite, only, device)  # refuses a typo before torch is imported
    refuse_unseen(device)

    import pandas as pd

    from rnnbench.project import folders_here
    from rnnbench.report.fastest import described_kept
    from rnnbench.report.page import page
    from rnnbench.report.screen.progress import shown_rounds
    from rnnbench.speedup.kept.saving import save as keep
    from rnnbench.speedup.search import find_wanted, wanted
    from rnnbench.suite.outline import cases_of

    modules, left_out = wanted(cases_of(groups))
    if not modules:
        raise UserError(f"{suite}: nothing to run: {left_out or 'no case is selected'}")
    if save is not None:
        _refuse_save(save, list(modules))
    sys.path += map(str, folders_here())  # this process imports the modules
    search = partial(find_wanted, root=chosen_suite.file.parent, budget_seconds=budget)
    runs, tables = _searched(modules, left_out, search)
    if is_table and save is not None:
        page.write(save, pd.concat(tables.values()).to_csv(index=False).encode(), save)
    elif save is not None:
        [module] = tables
        with shown_rounds() as on_progress:
            ways = keep(runs[module], tables[module], save, on_progress)
        output.say("\n".join(described_kept(ways)))
    if save is not None:
        output.say_path(save)


def _searched(
    modules: "Mapping[Case, Sequence[tuple[int, int]]]", left_out: str, search: Callable[..., Any]
) -> "tuple[dict[Case, RunModule], dict[Case, pd.DataFrame]]":
    """Search for the ways of modules at their shapes, and say what was found; return modules that run, and tables.

    Raises UserError if there are none.
    """
    from rnnbench.report.fastest import described
    from rnnbench.report.screen.progress import shown_rounds
    from rnnbench.report.words.names import say_all
    from rnnbench.speedup.search import SIZES

    runs = {}
    tables = {}
    faults = []
    for module, shapes in modules.items():
        name = f"{module.cell}, {say_all(SIZES, (getattr(module.workload, size) for size in SIZES))}"
        try:
            with shown_rounds() as on_progress:
                runs[module], tables[module] = search(module, shapes, on_progress=on_progress)
            output.say(described(name, tables[module]))
        except UserError as fault:  # the other cells of the suite can still be searched
            faults.append(f"{name}: {fault}")
    if not tables:
        raise UserError("; ".join(dict.fromkeys(faults)))
    for reason in filter(None, [left_out, *faults]):
        output.note(f"left out: {reason}")
    return runs, tables


def _refuse_save(save: Path, modules: "list[Case]") -> None:
    """Raise an error if --save can't be done, before the search."""
    from rnnbench.speedup.kept.saving import refuse_existing

    if len({(module.cell, module.workload.hidden_size) for module in modules}) > 1:
        raise click.UsageError("--save keeps the ways of one module: choose it with --only 'cell=... hidden_size=...'")
    if save.suffix == TABLE_ENDING:
        return
    if [module.workload.phase for module in modules] != ["inference"] or not modules[0].workload.device == "cpu":
        raise click.UsageError(
            "--save DIR keeps one module in inference on the CPU: choose it with --only 'phase=inference ...'; --save "
            "WAYS.csv takes both phases"
        )
    refuse_existing(save)

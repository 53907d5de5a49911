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
    FOLDER_TYPE,
    PATH_TYPE,
    SUITE_METAVAR,
    SUITE_TYPE,
    TEXT_TYPE,
    Command,
    refuse_unseen,
    selected,
    suite_names,
    suite_or_cell,
    takes,
)
from rnnbench.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from rnnbench.adapt.kinds import RunModule
    from rnnbench.store.records import Case


@click.command(cls=Command, short_help="Find the fastest way to run each cell of SUITE.")
@click.argument("suite", metavar=SUITE_METAVAR, type=SUITE_TYPE, shell_complete=suite_names)
@takes("only")
@click.option("--budget", type=DURATION_TYPE, default="60s", show_default=True, help="Time for each module and phase.")
@takes("device")
@click.option(
    "--save",
    type=FOLDER_TYPE,
    metavar="DIR",
    help="Save the compiled code of one module in a new folder, for `rnnbench.load_fastest`.",
)
@click.option(
    "--save-ways",
    type=PATH_TYPE,
    metavar="FILE.csv",
    help="Save the table of ways of one module in a new file, for `rnnbench.fastest(..., ways=FILE)`.",
)
@click.option(
    "--reference",
    type=TEXT_TYPE,
    metavar="rnn|lstm|gru|none|CELL",
    help="For a cell that has no suite: also find the fastest way of this layer or cell.  [default: none]",
)
@takes("input", "sequence", "json")
def fastest(
    suite: str,
    only: tuple[str, ...],
    device: str | None,
    budget: float,
    save: Path | None,
    save_ways: Path | None,
    reference: str | None,
    input: str | None,
    sequence: bool,
    as_json: bool,
) -> None:
    """Find the fastest way to run each cell and layer of SUITE, or a class at the sizes of the suite `quick`.

    These ways are tried: the cell as given; the input's matmuls for all steps at once (hoisted); the layer of torch.nn
    that computes the same (torch.nn), and that layer in rnnbench's own C (fused); torch.compile (compiled);
    torch.compile with each matmul in the library that is fastest here (prepacked), or on a GPU torch.compile's modes
    (reduce-overhead, max-autotune). Ways with different results are rejected. The ways are timed alternately, in
    this process.

    --save writes the compiled code of each shape, for inference on this kind of processor, with random weights.
    `rnnbench.load_fastest(DIR)` loads this code without compiling, and runs only these shapes. Load your weights with
    `load_state_dict`.

    \b
    Examples:
      rnnbench fastest MyGRU.py:MyGRU --only 'hidden_size=256 phase=inference' --save my-gru
      rnnbench fastest MyGRU.py:MyGRU --only 'hidden_size=256 phase=inference' --save-ways ways.csv
      rnnbench fastest ladder --only 'cell=torch.nn.GRU batch_size=32'

    \b
    Exit codes: 0 a way was found for at least one module; 2 wrong usage, or none was found.
    """
    _refuse_files(save, save_ways)
    chosen_suite = suite_or_cell(suite, reference, input, sequence=sequence, default="none")
    groups = selected(chosen_suite, only, device)  # refuses a typo before torch is imported
    refuse_unseen(device)

    from rnnbench.project import folders_here
    from rnnbench.speedup.search import find_wanted, wanted
    from rnnbench.suite.outline import cases_of

    modules, left_out = wanted(cases_of(groups))
    if not modules:
        raise UserError(f"{suite}: nothing to run: {left_out or 'no case is selected'}")
    _refuse_save(save, save_ways, list(modules))
    sys.path += map(str, folders_here())  # this process imports the modules
    search = partial(find_wanted, root=chosen_suite.file.parent, budget_seconds=budget)
    runs, tables = _searched(modules, left_out, search, as_json=as_json)
    if save_ways is not None:
        _write_ways(save_ways, tables.values())
        output.say_path(save_ways, err=as_json)
    if save is not None:
        [module] = tables
        _save(runs[module], tables[module], save, as_json=as_json)


def _write_ways(file: Path, tables: "Iterable[pd.DataFrame]") -> None:
    """Write the tables of ways into a CSV file."""
    import pandas as pd

    from rnnbench.report.page import page

    page.write(file, pd.concat(tables).to_csv(index=False).encode(), file)


def _save(run: "RunModule", table: "pd.DataFrame", folder: Path, *, as_json: bool) -> None:
    """Save the compiled code of a module, and print what the folder holds and its path."""
    from rnnbench.report.fastest import described_kept
    from rnnbench.report.screen.progress import shown_rounds
    from rnnbench.speedup.kept.saving import save as keep

    with shown_rounds() as on_progress:
        ways = keep(run, table, folder, on_progress)
    (output.note if as_json else output.say)("\n".join(described_kept(ways)))
    output.say_path(folder, err=as_json)


def _searched(
    modules: "Mapping[Case, Sequence[tuple[int, int]]]", left_out: str, search: Callable[..., Any], *, as_json: bool
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
            if as_json:
                _print_rows(module, tables[module])
            else:
                output.say(described(name, tables[module]))
        except UserError as fault:  # the other cells of the suite can still be searched
            faults.append(f"{name}: {fault}")
    if not tables:
        raise UserError("; ".join(dict.fromkeys(faults)))
    for reason in filter(None, [left_out, *faults]):
        output.note(f"left out: {reason}")
    return runs, tables


def _print_rows(module: "Case", table: "pd.DataFrame") -> None:
    """Print each way of a module as a JSON object on a line."""
    from rnnbench.report.export import plain

    for row in table.to_dict("records"):
        output.write_json({"cell": module.cell, "hidden_size": module.workload.hidden_size, **plain(row)})


def _refuse_files(save: Path | None, save_ways: Path | None) -> None:
    """Raise an error if a file or a folder can't be made new."""
    if save is not None and save.suffix == ".csv":
        raise click.UsageError(f"--save takes a folder; the option for a table of ways is --save-ways {save}")
    if save_ways is not None and save_ways.exists():
        raise UserError(f"{save_ways} already exists; give the name of a new file")


def _refuse_save(save: Path | None, save_ways: Path | None, modules: "list[Case]") -> None:
    """Raise an error if --save or --save-ways can't be done, before the search."""
    from rnnbench.speedup.kept.saving import refuse_existing

    name = "--save-ways" if save is None else "--save"
    is_one = len({(module.cell, module.workload.hidden_size) for module in modules}) == 1
    if not is_one and (save is not None or save_ways is not None):
        raise click.UsageError(f"{name} saves one module: choose it with --only 'cell=... hidden_size=...'")
    if save is None:
        return
    if [module.workload.phase for module in modules] != ["inference"] or not modules[0].workload.device == "cpu":
        raise click.UsageError(
            "--save DIR saves one module in inference on the CPU: choose it with --only 'phase=inference ...'; "
            "--save-ways FILE.csv takes both phases"
        )
    refuse_existing(save)

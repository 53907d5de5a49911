"""`rnnbench list`."""

from typing import TYPE_CHECKING

import click

from rnnbench.cli import output
from rnnbench.cli.options import OF_CELLS, selected, takes, takes_suite
from rnnbench.errors import UserError
from rnnbench.text import first_line, printable

if TYPE_CHECKING:
    from rnnbench.suite.suites import Suite


@click.group("list")
def list_() -> None:
    """Show what there is before anything runs.

    \b
    Example:
      rnnbench list cases quick --only cell=gru

    \b
    Exit codes: 0 listed; 2 wrong usage.
    """


@list_.command("suites", short_help="The suites that you can give by name.")
@takes("json-lines")
def list_suites(as_json: bool) -> None:
    """List the suites that you can give by name, with the number of their cases.

    \b
    Example:
      rnnbench list suites

    \b
    Exit codes: 0 listed, and broken suites are named on standard error; 2 wrong usage.
    """
    from rnnbench.suite.places import hidden_by, shipped
    from rnnbench.suite.suites import read_suite

    for name, file in shipped().items():
        try:
            suite = read_suite(str(file))
            count = suite.count()
        except UserError as fault:  # a broken suite does not hide the others
            output.note(printable(f"{name:<14} can't be used: {first_line(fault)}"))
            continue
        if as_json:
            output.write_json({"name": name, "cases": count, "description": suite.description, "file": str(suite.file)})
            continue
        hides = f" ({file}, which hides rnnbench's own)" if hidden_by(name, file) else ""
        cases = "case" if count == 1 else "cases"
        line = printable(f"{name:<14} {count:>6,} {cases:<5}  {suite.description}{hides}")
        output.say(output.on_terminal(line, hang=29))


@list_.command("cells", short_help="The cells and data sets that rnnbench brings.")
@takes("json-lines")
def list_cells(as_json: bool) -> None:
    """List the cells and data sets that rnnbench brings, and what each is timed against.

    \b
    Example:
      rnnbench list cells

    \b
    Exit codes: 0 listed; 2 wrong usage.
    """
    from rnnbench.cells import CELLS
    from rnnbench.store.records import DATA_SETS, LAYERS

    width = max(map(len, (*CELLS, *DATA_SETS)))
    cells = [(name, LAYERS[spec.reference], spec.about) for name, spec in CELLS.items()]
    data_sets = [(name, "per_item", f"data set: {about}") for name, about in DATA_SETS.items()]
    for name, reference, about in [*cells, *data_sets]:
        if as_json:
            output.write_json({"name": name, "reference": reference, "description": about})
        else:
            output.say(output.on_terminal(f"{name:<{width}} {reference:<14} {about}", hang=width + 16))


@list_.command("metrics", short_help="The metrics of a case besides its time.")
@takes("json-lines")
def list_metrics(as_json: bool) -> None:
    """List the metrics of a case besides its time: name, unit, whether less or more is better, and how it is measured.

    \b
    Example:
      rnnbench list metrics

    \b
    Exit codes: 0 listed; 2 wrong usage.
    """
    from rnnbench.store.metrics import METRICS

    for metric in METRICS:
        if as_json:
            about = {"description": metric.about, "unit": metric.unit, "better": metric.better}
            output.write_json({"name": metric.name, **about})
            continue
        line = f"{metric.name:<26} {metric.unit:<10} {metric.better:<7} {metric.about}"
        output.say(output.on_terminal(line, hang=46))


@list_.command("cases", short_help="The cases of SUITE or of a cell, one per line.")
@takes_suite
@takes("only", "device")
@click.option("--full", is_flag=True, help="Show every axis of each case, also axes with one value.")
@takes(*OF_CELLS, "json-lines")
def list_cases(
    suite: "Suite",
    only: tuple[str, ...],
    device: str | None,
    full: bool,
    as_json: bool,
) -> None:
    """The cases of SUITE, one a line; each line is an --only expression that selects it.

    A line has the axes in which cases of SUITE differ. What all cases have in common is written once, on standard
    error.

    \b
    Examples:
      rnnbench list cases quick --only 'cell=gru batch_size=1'
      rnnbench list cases quick --full

    \b
    Exit codes: 0 listed; 2 wrong usage, or no case is selected.
    """
    from rnnbench.store.records import AXES
    from rnnbench.suite.expressions import common, expression, telling
    from rnnbench.suite.outline import cases_of, values

    cases = cases_of(selected(suite, only, device))
    if as_json:
        for case in cases:
            output.write_json({"case": case.key, **case.axes()})
        return
    axes = AXES if full else telling(cases, values(suite.cases(device)))
    if not full:
        output.note(output.wrapped(f"all cases: {common(cases, axes)}", hang=2))
    for case in cases:
        output.say(output.on_terminal(expression(case, axes)))

"""`rnnbench bisect`: which commit made it slower?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnbench.cli import output
from rnnbench.cli.options import (
    DURATION_TYPE,
    OF_CELLS,
    TEXT_TYPE,
    Command,
    refuse_unseen,
    takes,
    takes_suite,
    typed_command,
)

if TYPE_CHECKING:
    from rnnbench.suite.suites import Suite

UNDECIDED = 3


@click.command(cls=Command, short_help="Which commit made SUITE slower?")
@takes_suite
@click.option("--good", required=True, type=TEXT_TYPE, metavar="REV", help="A revision that was still fast.")
@click.option(
    "--bad", default="HEAD", show_default=True, type=TEXT_TYPE, metavar="REV", help="A later revision that is slow."
)
@takes("only")
@click.option("--budget", type=DURATION_TYPE, default=900.0, help="Time for the whole search.  [default: 15m]")
@takes("device")
@takes("source", "out", *OF_CELLS)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON object.")
@click.pass_context
def bisect(
    context: click.Context,
    suite: "Suite",
    good: str,
    bad: str,
    only: tuple[str, ...],
    device: str | None,
    sources: tuple[str, ...],
    budget: float,
    out: Path,
    as_json: bool,
) -> None:
    """Which commit made SUITE slower? Names it, with the size of the change and the likely cause.

    Compares both ends first. Exact counts of operator calls, allocations and multiply-accumulates locate the commit;
    otherwise timing does. Each commit that it names was compared with its parent. A merge is one step. Every commit
    is measured with the current suite file.

    \b
    Examples:
      rnnbench bisect ci --good v1.0
      rnnbench bisect mine.toml --good HEAD~40 --only 'cell=gru phase=inference'

    \b
    Exit codes: 0 every slower case is explained by the commits named; 2 wrong usage, or the
    search failed, or bad is not slower than good; 3 a case is undecided; 130 interrupted.
    """
    from rnnbench.check.bisect import bisect as search
    from rnnbench.check.commits import BisectOptions
    from rnnbench.report.verdicts.outputs import bisection_json, bisection_text
    from rnnbench.store.folder import write_whole
    from rnnbench.suite.expressions import parse_only
    from rnnbench.text import encoded, rounded_up

    refuse_unseen(device)
    folder, answer = search(
        suite,
        BisectOptions(
            good=good,
            bad=bad,
            only=parse_only(only, "--only", arguments=suite.arguments),
            device=device,
            sources=sources,
            command=typed_command(),
            budget_seconds=budget,
        ),
        out=out,
        on_step=lambda words, seconds: output.note(f"{words}; at most {rounded_up(seconds)} left"),
    )
    try:
        write_whole(folder / "bisect.json", encoded(bisection_json(answer)))
    finally:  # if the file can't be written, the answer is shown before the error
        if as_json:
            output.write(bisection_json(answer).encode())
        else:
            output.say(bisection_text(answer))
        if not answer.is_finished:
            output.tell("the budget was spent before the search ended; give a larger --budget")
        output.say_path(folder, err=as_json)
    context.exit(0 if answer.is_complete else UNDECIDED)

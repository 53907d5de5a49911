"""`rnnbench profile`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnbench.cli import output
from rnnbench.cli.options import (
    DURATION_TYPE,
    OF_CELLS,
    Command,
    refuse_unseen,
    selected,
    takes,
    takes_suite,
    typed_command,
)
from rnnbench.cli.run import refuse_missing
from rnnbench.errors import UserError
from rnnbench.text import as_budget, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rnnbench.analysis.run_times import RunTimes
    from rnnbench.store.profiles import Profile
    from rnnbench.suite.suites import Suite

RUN_SHARE = 0.45  # of the budget
REPORT_SHARE = 0.1  # the rest is for profiles


@click.command(cls=Command, short_help="Say where the time of a call goes, and what would save time.")
@takes_suite
@takes("only")
@click.option(
    "--budget",
    type=DURATION_TYPE,
    help="Stop when about this much time is spent, half of it on profiles.  [default: the suite's, for the times]",
)
@takes("device", "out", *OF_CELLS, "json-object")
def profile(
    suite: "Suite", out: Path, only: tuple[str, ...], device: str | None, budget: float | None, as_json: bool
) -> None:
    """Measure SUITE, then show where the time of each call goes, and why it differs from torch.nn's.

    The last line is the path of the report: one page, whose section Why has a waterfall, a breakdown and the hottest
    operators of each cell. The run's folder has `traces/` with flame graphs, for https://ui.perfetto.dev. In Python,
    `rnnbench.explain` says the same of modules in your process.

    \b
    Example:
      rnnbench profile ladder --only 'cell=lstm batch_size=1 seq_len=16 hidden_size=64' --budget 90s

    \b
    Exit codes: 0 profiled; 2 wrong usage, or no case was measured or profiled (the last
    line on standard error says why).
    """
    from rnnbench.analysis.run_times import read_run_times
    from rnnbench.analysis.summary import summarize
    from rnnbench.harness.coordinator.session import run_suite
    from rnnbench.profiling.gap import call_seconds
    from rnnbench.profiling.run import profile_run
    from rnnbench.report.screen.progress import shown_progress
    from rnnbench.store.records import NOT_REACHED

    groups = selected(suite, only, device)
    settings = suite.measure
    refuse_unseen(device)
    if budget is not None:
        settings = settings.model_copy(update={"budget_seconds": RUN_SHARE * budget})
    started = time.monotonic()
    with shown_progress() as on_progress:
        folder = run_suite(suite, groups, settings, out=out, command=typed_command(), on_progress=on_progress)
    run = read_run_times(folder)
    refuse_missing(folder, summarize(run), share=RUN_SHARE, some_may_fail=True)
    took = time.monotonic() - started
    left = None if budget is None else (1 - REPORT_SHARE) * budget - took
    with shown_progress("profiling") as on_progress:
        timed = call_seconds(run)
        profiles = profile_run(folder, suite.file.parent, settings, timed=timed, left=left, on_progress=on_progress)
    if budget is not None and all(profile.reason == NOT_REACHED for profile in profiles.values()):
        raise UserError(
            f"{folder}: no case was profiled within the budget, of which measuring took {took:.0f} s; "
            f"--budget {as_budget(enough_budget(took, len(profiles)))} is enough for {plural(len(profiles), 'case')}"
        )
    _print_profile(folder, run, profiles, as_json=as_json)


def enough_budget(measuring_seconds: float, cases: int) -> float:
    """Return a budget, in seconds, that leaves time for a profile of each case.

    `measuring_seconds`: what measuring has taken; it takes its share of a larger budget.
    """
    from rnnbench.profiling.run import LEAST_PROFILE_SECONDS

    profiles = cases * LEAST_PROFILE_SECONDS
    return max(profiles / (1 - REPORT_SHARE - RUN_SHARE), (measuring_seconds + profiles) / (1 - REPORT_SHARE))


def _print_profile(folder: Path, run: "RunTimes", profiles: "Mapping[str, Profile]", *, as_json: bool) -> None:
    """Write the report of a run, and print why its cases take their time, which are not profiled, and the paths."""
    from rnnbench.report.reports import of_one
    from rnnbench.report.why import not_profiled, sections
    from rnnbench.report.words.names import names
    from rnnbench.store.folder import last_measurements
    from rnnbench.store.profiles import Profile

    page = of_one(folder).page
    measurements = last_measurements(folder).values()
    labels, _ = names([measurement.case for measurement in measurements])
    unmeasured = {
        one.case.key: Profile(one.case.key, "failed", one.reason)
        for one in measurements
        if one.status in ("skipped", "failed")
    }
    why = {section.title: section.of(str)[0] for section in sections(run, profiles)}
    missing = list(not_profiled({**profiles, **unmeasured}, labels))
    if as_json:
        output.write_json({"why": why, "not_profiled": missing, "run": str(folder), "page": str(page)})
        return
    for title, text in why.items():
        output.say(f"{output.wrapped(title)}\n{output.wrapped(text, indent=2, hang=2)}\n")
    for line in missing:
        output.say(output.wrapped(line, hang=2))
    output.say_path(folder)
    output.say_path(page)

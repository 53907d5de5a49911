"""How a run was measured: its precision and noise, the machine and the software, what it lacks."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rnnbench.analysis.summary import Noise
from rnnbench.report.facts import reference_name
from rnnbench.report.table import Column, Lines, Section, SectionPart, Table, table
from rnnbench.report.words.names import (
    SETTINGS,
    SIZES,
    flushed,
    identity,
    is_reference,
    one_line,
    say_all,
    several,
    with_series,
)
from rnnbench.report.words.units import PREFIXES, change, duration, half_width, memory, round_percent, scaled
from rnnbench.store.ceilings import Ceiling
from rnnbench.store.run_info import Processor, RunInfo
from rnnbench.text import first_few, listed, plural

UNDISTURBED_RATIO = (
    "An undisturbed ratio is that of the times that calls take while nothing else uses the core, their 5% quantiles in "
    "quiet moments: it is the one to quote in a paper."
)
NOISY_FLOOR = 0.02  # above this, a 5% difference takes many replicates to see
SERIES_NAMED = 3  # series, or workloads of one, that are named; more are only counted


def sections(summary: pd.DataFrame, noise: Noise, info: RunInfo, commands: Sequence[str]) -> list[Section]:
    """Return the folded sections; `commands` measure again and make the page again."""
    replicates = summary.loc[summary["status"] == "measured", "replicates"]
    name = reference_name(summary)
    low = int(replicates.min()) if len(replicates) else 0
    high = int(replicates.max()) if len(replicates) else 0
    what = "The batches of each way" if name == "per_item" else "Outputs and gradients of each case"
    compared = f"{what} were compared with those of {name} before it was timed"
    if set(summary["reference"]) == {"none"}:
        compared = "There is no reference to compare outputs with"
    how = (
        f"{plural(high, 'replicate')}{f' ({low:,} at least)' if low < high else ''}, each a fresh process in which the "
        f"cases of one size take turns with their reference on the same cores. {UNDISTURBED_RATIO} Other ratios are of "
        "all calls. Values and 95% intervals are over the replicates. Ratios are taken within each replicate. "
        f"Of 100 intervals about 5 miss the true value. {compared}."
    )
    measured: list[SectionPart] = [
        how,
        f"{reached(summary, info)} {noise_sentence(noise)}".strip(),
        Lines("Notes on this run:", [one_line(str(note)) for note in info.notes]),
        Lines("To measure again, and to make this page again:", commands, are_commands=True),
    ]
    missing = [Lines("Without a time:", lines)] if (lines := list(map(str, not_measured(summary)))) else []
    return [
        Section("measured", "How it was measured", measured, is_folded=True),
        Section("environment", "Environment", [table_of_environment(info)], is_folded=True),
        Section("missing", "Skipped and failed", missing, is_folded=True),
    ]


def machine(summary: pd.DataFrame, info: RunInfo) -> str:
    """Return `AMD EPYC, 1 thread, float32`: the processor or the GPU of a run, and what else its times depend on."""
    devices = [one_line(device) for device in summary["device"].unique()]
    facts = [" and ".join(devices)]
    if len(devices) == 1:
        cards = info.environment.get("worker", {}).get("devices", {}).get(devices[0], [])
        model = cards[0]["name"] if cards else info.environment.get("machine", {}).get(devices[0])
        if model:
            facts = [one_line(model) if devices == ["cpu"] else f"{devices[0]} ({one_line(model)})"]
    if devices == ["cpu"]:
        threads = sorted({int(number) for number in summary["threads"]})
        facts.append(f"{' or '.join(map(str, threads))} {'thread' if threads == [1] else 'threads'}")
    types = [one_line(dtype) for dtype in summary["dtype"].unique()]
    return ", ".join(filter(None, [*facts, listed(types) if types else "", flushed(summary)]))


def reached(summary: pd.DataFrame, info: RunInfo) -> str:
    """Say how many ratios have the requested precision, and how precise they are; empty if none has an interval."""
    cases = summary[~is_reference(summary)].dropna(subset=["ratio_low", "ratio_high"])
    if cases.empty:
        return ""
    half = (cases["ratio_high"] / cases["ratio_low"]) ** 0.5 - 1
    target = "No precision was asked for."
    precision = info.resolved.get("measure", {}).get("precision")
    if precision is not None:
        met = int(half.le(precision).sum())
        target = (
            f"The target was ±{round_percent(precision)} for every ratio; {met:,} of all {len(cases):,} reached it."
        )
    return f"{target} Intervals are {half_width(half.median())} in the median, {half_width(half.max())} at the widest."


def noise_sentence(noise: Noise) -> str:
    """Say how far cases differ from themselves, and how the machine drifted; plain text."""
    if math.isnan(noise.floor):
        return "Noise floor: unknown (needs two replicates)"
    quality = "quiet enough to see 5% in a few replicates" if noise.floor <= NOISY_FLOOR else "noisy: give it more time"
    moved = change(1 + noise.drift)
    drift = f", and the references' times drifted by {moved} from start to end" if moved else ""
    pooled = f", median of {noise.cases:,} cases; {half_width(noise.worst)} for the worst twentieth"
    basis = f"half-width of the 95% interval{pooled if noise.cases > 1 else ''}"
    return f"Noise floor: a case differs from itself by {half_width(noise.floor)} ({basis}){drift}: {quality}."


def readiness(advice: Sequence[str], noise: Noise | None) -> str:
    """Say whether a machine is ready to measure; `noise` is None if it was not measured."""
    if advice:
        return f"Change {plural(len(advice), 'thing')} before measuring here:"
    if noise is None or math.isnan(noise.floor):
        return "No obstacle is known. How noisy this machine is was not measured."
    if noise.floor > NOISY_FLOOR:
        return "This machine is noisy, and no cause is known: give each run more time."
    return "Ready: no obstacle is known, and this machine is quiet enough to see 5% in a few replicates."


@dataclass(frozen=True)
class MissingCases:
    """The cases that have no time for one reason."""

    status: str
    number: int
    named: str  # which
    reason: str

    def __str__(self) -> str:
        """Return `20 skipped: combined hoisted and deep hoisted: nothing to hoist`."""
        word = "not reached" if self.status == "pending" else self.status
        return f"{self.number:,} {word}: {self.named}: {self.reason}"


def not_measured(summary: pd.DataFrame) -> tuple[MissingCases, ...]:
    """Return the reasons why cases have no time, each with its cases; failures first."""
    frame = with_series(summary)
    axes = ["phase", *several(summary, (*SIZES, *SETTINGS))]
    totals = frame["series"].value_counts()
    missing = frame[frame["status"] != "measured"].sort_values("status", kind="stable")
    reasons = []
    for (status, reason), cases in missing.groupby(["status", "reason"], sort=False):
        names = []
        for series, cases_of_series in cases.groupby("series", sort=False):
            which = (
                "" if len(cases_of_series) == totals[series] else f" ({len(cases_of_series):,} of {totals[series]:,})"
            )
            if which and len(cases_of_series) <= SERIES_NAMED:
                which = f" ({'; '.join(say_all(axes, values) for values in cases_of_series[axes].to_numpy())})"
            names.append(f"{series}{which}")
        reasons.append(MissingCases(str(status), len(cases), first_few(names, SERIES_NAMED), one_line(reason)))
    return tuple(reasons)


def table_of_environment(info: RunInfo) -> Table:
    """Return a table with one row for each fact: a list of plain values is one row, a dictionary one for each entry."""
    run = {name: getattr(info, name) for name in ("suite", "description", "command", "started", "status")}
    run |= {"wall_seconds": info.seconds, "finished replicates": info.replicates, "notes": list(map(str, info.notes))}
    stages = {f"{stage}_seconds": seconds for stage, seconds in info.stage_seconds.items()}
    limits = [Ceiling.from_json(ceiling) for ceiling in info.ceilings]
    rows = [
        *(("run", label, value) for label, value in run.items()),
        *_facts("before the timing", stages),
        *(("limits", f"{limit.device} {limit.dtype} {plural(limit.threads, 'thread')}", limit) for limit in limits),
        *_facts("environment", info.environment),
    ]
    frame = pd.DataFrame(rows, columns=["about", "what", "value"])
    columns = [
        Column("what", lambda row: one_line(_label(row["about"], row["what"]))),
        Column("value", lambda row: one_line(_show(row["what"], row["value"]))),
    ]
    exact = frame["value"].where(frame["value"].notna(), "").map(_exact)
    machine = frame.assign(value=list(exact))
    return table("environment", "The run, the machine and the software", "", columns, frame, machine=machine)


def _exact(value: Any) -> str:
    """Return a value with all that is known of it, for programs."""
    if isinstance(value, Ceiling | Processor):
        return json.dumps(value.to_json())
    return "; ".join(map(str, value if isinstance(value, list) else [value]))


def facts(environment: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the name and the value of each fact of an environment, for a terminal."""
    return [(_label(about, what), _show(what, value)) for about, what, value in _facts("environment", environment)]


def _facts(about: str, tree: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield what a value is about, its name, and the value; those of a branch are about the branch."""
    for key, value in tree.items():
        if key == "processor":
            yield about, key, Processor.from_json(value)
        elif isinstance(value, dict):
            yield from _facts(key if about == "environment" else f"{about}, {key}", value)
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            yield from _facts(about, {f"{key} {index}": item for index, item in enumerate(value)})
        else:
            yield about, key, value


def _label(about: str, what: str) -> str:
    plain = [key.removesuffix("_bytes").removesuffix("_seconds").replace("_", " ") for key in (about, what)]
    return ": ".join(plain)


def _show(key: str, value: Any) -> str:
    """Return a value in words; a number with the unit that its key names."""
    match value:
        case None | bool():
            return {None: "not known", True: "yes", False: "no"}[value]
        case int() | float():
            return {"bytes": memory, "seconds": duration}.get(key.rpartition("_")[2], str)(value)
        case Processor():
            return identity(value)
        case Ceiling():
            best = [f"arithmetic {scaled(value.macs_per_second, PREFIXES, 'MAC/s')}"]
            for kind, rates in (("copies", value.copies), ("reads", value.reads)):
                best += [f"{kind} {scaled(max(rate.value for rate in rates), PREFIXES, 'B/s')}"] if rates else []
            launch = "" if value.launch_seconds is None else f"; {duration(value.launch_seconds)} a kernel in a queue"
            return f"at best {', '.join(best)}; {duration(value.dispatch_seconds)} an operator{launch}"
        case list():
            return ", ".join(_show(key, item) for item in value) or "none"
        case _:
            return str(value)

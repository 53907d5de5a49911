"""The checks of a suite over time: what became slower since when, in words, a figure, and a table of all cases."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnbench.analysis.check_history import CREEP, LEVEL_COLUMNS, CheckHistory, check_history
from rnnbench.analysis.comparison import RANKS
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import CHANGED
from rnnbench.harness.accepted import Accepted
from rnnbench.harness.machine import git
from rnnbench.report.drawing.draw import limits, log_ticks
from rnnbench.report.drawing.marks import FASTER, SLOWER
from rnnbench.report.drawing.pictures import picture
from rnnbench.report.drawing.sheet import Sheet, small_panels
from rnnbench.report.table import LEFT_OUT_FILES, Column, Lines, Section, Table, table, text_of
from rnnbench.report.verdicts.lasting import Commits, described_cases
from rnnbench.report.verdicts.page import COLUMNS_OF_VERDICTS
from rnnbench.report.verdicts.reasons import shortened
from rnnbench.report.verdicts.verdicts import outcomes_of, read_verdicts
from rnnbench.report.words.names import commit, names, one_line, when
from rnnbench.report.words.units import (
    MISSING,
    change,
    change_interval,
    slower,
    span,
)
from rnnbench.store.folder import read_info
from rnnbench.store.records import Case
from rnnbench.store.run_info import RunInfo
from rnnbench.suite.places import ACCEPTED
from rnnbench.text import first_few, listed, plural

CASES_NAMED = 3  # cases in the answer
NO_ACCEPTED = Accepted(Path("/dev/null/accepted.toml"))
MAX_CHECK_PANELS = 9
REACH_OF_CHECKS = 1.5  # times the farthest level: an axis goes no farther, however long an interval is
NOTE_ON_CASES = (
    "Over the checks: the time over that at the base of the first check, the newest check on the right; a dot is a "
    "check that did not measure the case, which counts as no change. Lasting change: the changes that a check called, "
    "and a creep, multiplied. A creep is a change over three checks or more, of which none called it. All checks "
    "together: all changes multiplied, whose interval grows with each check."
)
CAPTION = (
    "The time of a case over that at the beginning, after each check of the chain, with the 95% interval of all its "
    "changes together. A dashed line is a check that called a change; a shaded stretch is a creep. The cases that "
    f"changed most, at most {MAX_CHECK_PANELS}; the table has all."
)
NO_CHAIN = (
    "No check begins at the commit where another one ended, so their changes can't be put together. Check each commit "
    "against the last one that was checked, as rnnbench's action does after a push."
)


def read_check(folder: Path) -> pd.DataFrame | None:
    """Return a row for each case of a check: that of `Verdicts.frame`, its subject, and what is known of the check.

    None if the check ended without verdicts. Raises UserError if it can't be read.
    """
    if (verdicts := read_verdicts(folder)) is None:
        return None
    base = read_info(folder / "base")
    head = read_info(folder / "head")
    return verdicts.frame.assign(
        check=folder.resolve().name,
        commits=f"{commit(base) or verdicts.base} → {commit(head) or verdicts.head}",  # `1a2b3c4 → 5e6f7a8`
        base_commit=_clean_commit(base),
        head_commit=_clean_commit(head),
        suite=head.suite_file if head.suite_file.endswith(".toml") else head.suite,
        checked=when(head),
        answer=verdicts.answer,
        machine=_machine(head),
        is_slowdown=[row.is_slowdown for row in verdicts.findings],
        subject=pd.Series([row.case for row in verdicts.findings], dtype=object),
    )


def _clean_commit(info: RunInfo) -> str | None:
    """Return the commit that a side ran; None if it is not known, or files differed from it."""
    state = info.environment.get("git") or {}
    return None if state.get("dirty") else state.get("commit")


def _machine(info: RunInfo) -> str:
    """Return `AMD EPYC, 2 cores, torch 2.13.0`, as far as it is known."""
    machine = info.environment.get("machine") or {}
    worker = info.environment.get("worker") or {}
    cores = plural(machine["cores"], "core") if machine.get("cores") else ""
    torch = f"torch {worker['torch']}" if worker.get("torch") else ""
    return one_line(", ".join(filter(None, [machine.get("cpu"), cores, torch]))) or "an unknown machine"


def accepted_in(checks: Sequence[pd.DataFrame], folders: Sequence[Path]) -> Accepted:
    """Return the entries of the `accepted.toml` that lies beside the suite of checks.

    `folders`: those of the checks, the oldest first, of which the newest tells where its suite was in the repository
    that the current folder is in. Raises UserError with what is wrong in the file.
    """
    top = git.top(Path())
    suite = (top or Path()) / read_info(folders[-1] / "head").suite_file
    subjects = chain(*(check["subject"] for check in checks))
    cases = {subject for subject in subjects if isinstance(subject, Case)}
    return Accepted(suite.parent / ACCEPTED if suite.suffix else suite / ACCEPTED, cases, top)


def with_accepted(check: pd.DataFrame, accepted: Accepted) -> pd.DataFrame:
    """Return the rows of a check with the reasons for which regressions were accepted, then or since."""
    is_slower = check["is_slowdown"] | check["change_low"].gt(1 + check["margin"])
    reasons = check["accepted"].copy()
    slower = check[is_slower & reasons.eq("")]
    for place, row in zip(slower.index, slower.to_dict("records"), strict=True):
        lower = None if math.isnan(row["change_low"]) else row["change_low"]
        reasons[place] = accepted.reason(row["subject"], row["base_commit"], row["head_commit"], lower)
    is_new = reasons.ne(check["accepted"]) & check["is_slowdown"]
    why = check["why"].mask(is_new, "accepted: " + reasons + "; " + check["why"]).str.removesuffix("; ")
    return check.assign(accepted=reasons, why=why)


def frame_of_checks(checks: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all checks, the oldest first, with a `place` for each check; names tell all cases apart."""
    ordered = sorted(checks, key=lambda check: (check["checked"].iloc[0], check["check"].iloc[0]))
    cases = pd.concat(ordered, keys=range(len(checks)), names=["place"]).reset_index("place").reset_index(drop=True)
    labels, _ = names(cases["subject"].to_list())
    return cases.assign(name=[labels[subject.key] for subject in cases["subject"]]).drop(columns="subject")


def section_of_checks(
    checks: Sequence[pd.DataFrame],
    left_out: Sequence[str] = (),
    repository: Path | None = None,
    accepted: Accepted = NO_ACCEPTED,
) -> Section:
    """Return words, figure and tables of checks.

    `left_out`: files of others that can't be read; `repository`: a folder in the one that the commits are of;
    `accepted`: which regressions the team has accepted.
    """
    checks = [with_accepted(check, accepted) for check in checks if len(check)]
    subjects: dict[str, Case] = {}
    for check in checks:
        subjects |= dict(zip(check["case"], check["subject"], strict=True))
    rows = frame_of_checks(checks)
    history = check_history(rows)
    ends = rows[["base_commit", "head_commit"]].dropna().drop_duplicates()
    pairs = list(ends.itertuples(index=False, name=None))
    commits = Commits() if repository is None else Commits.from_repository(repository, pairs)
    parts: list[Any] = [Lines(LEFT_OUT_FILES, left_out)]
    if len(history.checks) > 1:
        cases = described_cases(history, rows, commits, lambda case, *change: accepted.reason(subjects[case], *change))
        parts += _answer(history, cases, commits, rows["suite"].iloc[-1])
        if (figure := draw(history, cases, commits)) is not None:
            parts.append(picture("check_history", "The cases that changed most", CAPTION, figure))
        parts.append(_table_of_cases(history, cases, commits))
    else:
        parts += [_counts(rows), NO_CHAIN]
    if rows["verdict"].isin(CHANGED).any():
        parts.append(_table_of_changes(rows, commits))
    parts.append(_table_of_checks(rows, commits))
    return Section("checks", "What the checks found", parts)


def _answer(history: CheckHistory, cases: pd.DataFrame, commits: Commits, suite: str) -> Iterator[str]:
    """Yield what became slower since when, and how to find its commit; drift against the baseline; what is not known.

    `suite`: as the command line takes it.
    """
    over = f"{plural(len(history.checks), 'check')} in a row, {span(*_days(history, commits))}"
    is_beyond = cases["size"] > cases["margin"].map(math.log1p)
    changed = {"slower": cases[is_beyond & cases["open"].gt(1)], "faster": cases[is_beyond & cases["open"].lt(1)]}
    untimed = cases[~is_beyond & cases["worse_untimed"]]
    clauses = [f"{len(group):,} became {word}" for word, group in changed.items() if len(group)]
    clauses = clauses or ["none became slower or faster"]
    clauses += [f"{len(untimed):,} regressed by counts or fail{'s' * (len(untimed) == 1)}"] if len(untimed) else []
    accepted = cases[~is_beyond & ~cases["worse_untimed"] & cases["accepted"].ne("")]
    more = f"; {len(accepted):,} regressed as accepted" if len(accepted) else ""
    yield f"Of {plural(len(cases), 'case')} over {over}, {listed(clauses)}{more}."
    for group in (*changed.values(), untimed, accepted):
        yield from _by_commit(group, commits)
    for case in changed["slower"].to_dict("records"):
        if commits.steps.get((case["base"], case["sha"])):
            ends = f"--good {case['base'][:7]} --bad {case['sha'][:7]}"
            yield f"To find the commit in this range: rnnbench bisect {shlex.quote(suite)} {ends}"
            break
    if history.baseline is not None:
        is_slower = cases["drift_low"] > 1 + cases["margin"]
        is_accepted = is_slower & cases["drift_accepted"].ne("")
        drifted = int((is_slower & ~is_accepted).sum())
        against = f"Against the baseline {commits.dated(history.baseline)}"
        number = plural(int(cases["drift"].notna().sum()), "case")
        more = f"; {int(is_accepted.sum()):,} more as accepted" if is_accepted.any() else ""
        are = "is" if drifted == 1 else "are"
        yield f"{against}, {drifted:,} of {number} {are} slower by more than the margin{more}."


def _by_commit(cases: pd.DataFrame, commits: Commits) -> Iterator[str]:
    """Yield a sentence for each commit that alone changed cases, and for each other case; at most CASES_NAMED."""
    is_one = cases["parts"].eq(1) & cases["creep"].isna()
    together = cases["sha"].where(is_one, cases["case"])
    words = cases["told"].where(cases["untimed"].gt(0), "")  # of unlike witnesses, or of times
    for (sha, *_), group in list(cases.groupby([together, "accepted", words], sort=False))[:CASES_NAMED]:
        case = group.iloc[0]
        if len(group) > 1 and case["untimed"]:
            yield f"{case['told'][0].upper()}{case['told'][1:]}: {first_few(list(group['name']), CASES_NAMED)}."
        elif len(group) > 1:
            sizes = span(change(group["lasting"].min()), change(group["lasting"].max()))
            blamed = commits.blamed(case["base"], str(sha))
            reason = f" (accepted: {case['accepted']})" if case["accepted"] else ""
            yield f"{sizes} in {blamed}{reason}: {first_few(list(group['name']), CASES_NAMED)}."
        else:
            several = f"{slower(case['lasting'])}, " if case["parts"] > 1 and case["whole_size"] else ""
            yield f"{case['name']}: {several}{case['told']}."


def _days(history: CheckHistory, commits: Commits) -> tuple[str, str]:
    """Return the days of the first base and the newest head, or those of the first and the newest check."""
    ends = history.checks["base_commit"].iloc[0], history.checks["head_commit"].iloc[-1]
    if all(sha in commits.days for sha in ends):
        return commits.days[ends[0]], commits.days[ends[1]]
    return history.checks["checked"].iloc[0][:10], history.checks["checked"].iloc[-1][:10]


def _counts(rows: pd.DataFrame) -> str:
    """Return how many cases regressed or improved in some check."""
    judged = rows[rows["verdict"].notna()]
    days = span(*(rows["checked"].iloc[end][:10] for end in (0, -1)))
    outcomes = outcomes_of(judged)
    counts = {outcome: judged.loc[outcomes == outcome, "case"].nunique() for outcome in (*CHANGED, "accepted")}
    clauses = [
        f"{number:,} {'regressed as ' if outcome not in CHANGED else ''}{outcome}"
        for outcome, number in counts.items()
        if number
    ]
    over = f"{plural(judged['case'].nunique(), 'case')} in {plural(rows['place'].nunique(), 'check')}"
    words = listed(clauses) if clauses else "none regressed and none improved"
    return f"Of {over} {'from' if ' ' in days else 'on'} {days}, {words}."


def _table_of_cases(history: CheckHistory, cases: pd.DataFrame, commits: Commits) -> Table:
    """Return the table with a line for each case, the largest change first."""
    columns = [
        Column("case", text_of("name")),
        Column("over the checks", text_of("bars"), is_drawn=True),
        Column("lasting change", lambda row: change(row["lasting"]) if row["whole_size"] else MISSING, numeric=True),
        Column("what changed", lambda row: row["told"] or MISSING, link=lambda row: commits.link(row["sha"])),
    ]
    if history.baseline is not None:
        columns.append(Column(f"since {history.baseline[:7]}", _drift_cell, numeric=True))
    columns.append(Column("all checks together", lambda row: _with_interval(row, "level"), numeric=True))
    if cases["unknown"].any():
        columns.append(Column("not measured in", lambda row: plural(row["unknown"], "check") if row["unknown"] else ""))
    machine = cases[
        [
            "case",
            *LEVEL_COLUMNS,
            *CREEP,
            "drift",
            "drift_low",
            "drift_high",
            "lasting",
            "unknown",
            "told",
            "sha",
            "accepted",
        ]
    ]
    for_readers = cases.drop(columns="case")
    title = "Every case over the checks"
    content = table("check_history", title, NOTE_ON_CASES, columns, for_readers, machine=machine)
    return replace(content, is_stacked=True)


def _drift_cell(row: Mapping[str, Any]) -> str:
    return f"{_with_interval(row, 'drift')}{' accepted' if row['drift_accepted'] else ''}"


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    estimate = Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])
    if estimate.lower == estimate.upper:  # the same code in each check
        return change(estimate.value)
    return f"{change(estimate.value)} {change_interval(estimate)}".strip() or MISSING


def _table_of_changes(rows: pd.DataFrame, commits: Commits) -> Table:
    """Return the table of what regressed or improved in a check, the largest change first."""
    changed = rows[rows["verdict"].isin(CHANGED)].drop(columns=["place", "answer", "machine", "suite", "is_slowdown"])
    changed = changed.iloc[changed["change"].map(math.log, na_action="ignore").abs().argsort()[::-1]]
    columns = [
        *COLUMNS_OF_VERDICTS,
        Column("commits", text_of("commits"), link=lambda row: commits.link(row["head_commit"] or "")),
        Column("checked", text_of("checked")),
        Column("why", text_of("why")),
    ]
    for_readers = changed.drop(columns="case").assign(verdict=outcomes_of(changed))
    title = "What regressed or improved in a check"
    return replace(table("checks_changes", title, "", columns, for_readers, machine=changed), is_stacked=True)


def _table_of_checks(rows: pd.DataFrame, commits: Commits) -> Table:
    """Return the table of the checks, the newest first."""
    facts = rows.groupby("place", sort=True)[["checked", "commits", "head_commit", "answer", "check"]].first()
    counts = pd.crosstab(rows["place"], outcomes_of(rows)).reindex(facts.index, fill_value=0)
    verdicts = [str(verdict) for verdict in RANKS if verdict in counts]
    facts["subject"] = [one_line(commits.subjects.get(sha, "")) for sha in facts["head_commit"].fillna("")]
    facts["committed"] = [commits.days.get(sha, "") for sha in facts["head_commit"].fillna("")]
    names = ["checked", "committed", "commits", "subject", *verdicts, "answer", "check", "head_commit"]
    frame = facts.join(counts)[names][::-1]
    hidden = {"head_commit", *(name for name in ("committed", "subject") if not frame[name].any())}
    headers = [name for name in names if name not in hidden]
    columns = [
        Column(
            name,
            text_of(name, one_line),
            numeric=name in verdicts,
            link=(lambda row: commits.link(row["head_commit"] or "")) if name == "commits" else None,
        )
        for name in headers
    ]
    machines = first_few(list(dict.fromkeys(rows["machine"][::-1])), CASES_NAMED)
    note = f"Checked on {machines}."
    return replace(
        table("checks", "The checks, the newest first", note, columns, frame, machine=frame), is_stacked=True
    )


def draw(history: CheckHistory, cases: pd.DataFrame, commits: Commits) -> Figure | None:
    """Draw the lines of the cases that changed most, a panel for each; None if no change was called, and no creep."""
    largest = cases[cases["whole_size"].gt(0)].head(MAX_CHECK_PANELS)
    if largest.empty:
        return None
    lines = dict(list(history.points.groupby("case")))
    with small_panels(len(largest)) as canvas:
        for axes, case in zip(canvas.grid.flat, largest.to_dict("records"), strict=False):
            _panel(canvas, axes, lines[case["case"]], case)
            axes.set_title(shortened(case["name"], 60), loc="left", fontsize=canvas.small, wrap=True)
            axes.set_ylabel("time over that at the beginning", fontsize=canvas.small)
            axes.grid(axis="y")
            last = len(history.checks) - 1
            axes.set_xlim(-0.5, last + 0.5)
            axes.set_xticks([0, last], _days(history, commits))
        soft = canvas.ink("soft")
        keys = [
            Line2D([], [], color=canvas.ink(), marker="o", markersize=3, linewidth=1.3, label="after a check"),
            Patch(facecolor=canvas.ink("line"), alpha=0.5, label="95% interval"),
            Line2D([], [], color=soft, linestyle="--", label="a check called a change"),
        ]
        if largest["creep"].notna().any():
            keys.append(Patch(facecolor=canvas.ink("faint"), edgecolor=canvas.ink("line"), label="creep"))
        canvas.legend(keys)
    return canvas.figure


def _panel(canvas: Sheet, axes: Any, line: pd.DataFrame, case: Mapping[Any, Any]) -> None:
    """Draw the levels of a case with their intervals, the changes that were called, and a creep."""
    if not math.isnan(case["creep"]):
        axes.axvspan(case["creep_start"] - 0.5, case["creep_end"] + 0.5, color=canvas.ink("faint"), linewidth=0)
    axes.axhline(1, color=canvas.ink("soft"), linewidth=0.8)
    axes.plot(line["step"], line["level"], color=canvas.ink(), marker="o", markersize=2.5, linewidth=1.3)
    band: dict[str, Any] = {"color": canvas.ink("line"), "alpha": 0.5, "linewidth": 0}
    axes.fill_between(line["step"], line["level_low"], line["level_high"], **band)
    for _, step in line[line["verdict"].isin(CHANGED) & line["change"].gt(0)].iterrows():
        shade = SLOWER if step["change"] > 1 else FASTER
        color = canvas.ink("soft" if step["accepted"] else shade)
        axes.axvline(step["step"] - 0.5, color=color, linewidth=1.2, linestyle="--")
        axes.annotate(
            change(step["change"]), (step["step"] - 0.5, 1), (2, -2), xycoords=("data", "axes fraction"),
            textcoords="offset points", weight="bold", fontsize=canvas.small, va="top",
        )  # fmt: skip
    levels = line["level"]
    ends = line[["level_low", "level_high"]].clip(levels.min() / REACH_OF_CHECKS, levels.max() * REACH_OF_CHECKS)
    low, high = limits([*levels, *ends.to_numpy().ravel(), 0.98, 1.02])
    log_ticks(canvas, axes.yaxis, low, high, lambda value: f"{value:g}×")

"""What changed lastingly in each case over a chain of checks: in which commits, and what of it is accepted."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rnnbench.analysis.check_history import CheckHistory
from rnnbench.analysis.verdict import CHANGED
from rnnbench.harness.machine import git
from rnnbench.report.verdicts.reasons import shortened
from rnnbench.report.words.names import one_line
from rnnbench.report.words.units import change
from rnnbench.text import plural

BARS = "▁▂▃▄▅▆▇█"
UNKNOWN_BAR = "·"
MAX_BARS = 40  # the newest checks
LEAST_SPAN = math.log(1.1)  # from the lowest to the highest bar, so that noise looks small
MAX_SUBJECT = 60  # characters of a commit's subject
UNCOMMITTED = "uncommitted changes"  # the head of a check of a working tree, which has no commit
UNTIMED_WITNESSES = ("counts", "instructions")  # what calls a change that the time does not show


@dataclass(frozen=True)
class Commits:
    """What a repository tells of its commits."""

    subjects: Mapping[str, str] = field(default_factory=dict)
    days: Mapping[str, str] = field(default_factory=dict)
    # The commits after the base of a check up to its head, the oldest first, where they are not one; none: the base is
    # no ancestor of the head.
    steps: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    address: str | None = None  # of the repository's page

    @classmethod
    def from_repository(cls, repository: Path, ends: Collection[tuple[str, str]]) -> "Commits":
        """Return what the repository that contains a folder tells of the commits of checks, each a base and a head."""
        commits = {sha for pair in ends for sha in pair}
        facts = git.subjects(repository, commits) if commits else {}
        subjects = {sha: subject for sha, (_, subject) in facts.items()}
        days = {sha: day for sha, (day, _) in facts.items()}
        known = [(base, head) for base, head in ends if base != head and {base, head} <= facts.keys()]
        steps = {pair: git.steps_between(repository, *pair) for pair in known}
        several = {pair: path for pair, path in steps.items() if len(path) != 1}
        return cls(subjects, days, several, git.web_address(repository))

    def name(self, sha: str) -> str:
        """Return `1a2b3c4 Add dropout`."""
        if not sha:
            return UNCOMMITTED
        subject = shortened(one_line(self.subjects.get(sha, "")), MAX_SUBJECT)
        return f"{sha[:7]} {subject}".rstrip()

    def dated(self, sha: str) -> str:
        """Return `1a2b3c4 Add dropout (2026-01-31)`, without what the repository does not know."""
        return f"{self.name(sha)} ({self.days[sha]})" if sha in self.days else self.name(sha)

    def blamed(self, base: str, head: str) -> str:
        """Return `1a2b3c4 Add dropout (2026-01-31)`, or `one of 4 commits, 1a2b3c4..9f8e7d6` if a check compared more.

        The range has the first and the last commit that may be the cause.
        """
        path = self.steps.get((base, head))
        if path is None:
            return self.dated(head)
        if not path:
            return f"{head[:7]}, which was compared with {base[:7]}, no ancestor of it"
        return f"one of {plural(len(path), 'commit')}, {path[0][:7]}..{path[-1][:7]}"

    def link(self, sha: str) -> str:
        """Return the address of a commit's page; empty if it is not known."""
        return f"{self.address}/commit/{sha}" if self.address and sha else ""


def described_cases(
    history: CheckHistory, rows: pd.DataFrame, commits: Commits, accepts: Callable[..., str] = lambda *change: ""
) -> pd.DataFrame:
    """Return the cases of a history, the largest change first, with their names, bars, and what changed where.

    `accepts`: why the change of a case between two commits is accepted, or nothing; it gets the case's key, the commits
    and the lower end of the ratio. `open` is what all changes but the accepted ones make together; `untimed`: how
    many changes counts or a failure called; `worse_untimed`: the newest of them is a regression that is not accepted.
    """
    names_of = rows.drop_duplicates("case").set_index("case")["name"]
    lines = dict(list(history.points.groupby("case")))
    descriptions = []
    for case in history.cases.to_dict("records"):
        parts = list(_parts(history, lines[case["case"]], case, commits, accepts))
        alarms = [part for part in parts if not part.accepted]
        untimed = [part for part in parts if part.is_untimed]
        clauses = [f"{part.words}{f' (accepted: {part.accepted})' if part.accepted else ''}" for part in parts]
        descriptions.append(
            {
                "name": names_of[case["case"]],
                "bars": bars(lines[case["case"]]),
                "told": "; ".join(clauses),
                "parts": len(parts),
                "sha": next((part.sha for part in [*alarms, *parts]), ""),
                "base": next((part.base for part in [*alarms, *parts]), ""),
                "accepted": "; ".join(dict.fromkeys(part.accepted for part in parts if part.accepted)),
                "open": math.exp(sum(part.log for part in alarms)),
                "untimed": len(untimed),
                "worse_untimed": bool(untimed) and untimed[-1].verdict == "regressed" and untimed[-1] in alarms,
                "size": abs(sum(part.log for part in alarms)),
                "whole_size": abs(math.log(case["lasting"])),
                "noisy_size": abs(math.log(case["level"])),
            }
        )
    cases = history.cases.join(pd.DataFrame(descriptions)).join(_accepted_drift(history, rows), on="case")
    cases = cases.assign(drift_accepted=cases["drift_accepted"].fillna(""))
    sizes = ["size", "whole_size", "noisy_size"]
    return cases.sort_values(sizes, ascending=False, kind="stable", ignore_index=True)


@dataclass(frozen=True)
class LastingPart:
    """A part of the lasting change of a case: what a check called, or a creep."""

    words: str
    base: str  # the commit that its check, or its first one, compared with
    sha: str  # of the commit that made it, or that ends it
    log: float  # of its ratio
    accepted: str  # why the team has accepted it; empty if it has not
    verdict: str = ""  # of the check that called it; empty for a creep
    is_untimed: bool = False  # counts or a failure called it


def _parts(
    history: CheckHistory, line: pd.DataFrame, case: Mapping[Any, Any], commits: Commits, accepts: Callable[..., str]
) -> Iterator[LastingPart]:
    """Yield the parts of the lasting change of a case, the largest change that a check called first.

    What counts or a failure called follows in the order of the checks.
    """
    bases = list(history.checks["base_commit"].fillna(""))
    heads = list(history.checks["head_commit"].fillna(""))
    called = line[line["verdict"].isin(CHANGED)]
    is_timed = called["change"].gt(0) & ~called["decided_by"].isin(UNTIMED_WITNESSES)
    for _, step in called[is_timed].sort_values("log", key=abs, ascending=False).iterrows():
        base = bases[step["step"]]
        sha = heads[step["step"]]
        words = f"{change(step['change'])} in {commits.blamed(base, sha)}"
        yield LastingPart(words, base, sha, step["log"], step["accepted"], step["verdict"])
    for _, step in called[~is_timed].sort_values("step").iterrows():
        base = bases[step["step"]]
        sha = heads[step["step"]]
        witness = f" by {step['decided_by']}" if step["decided_by"] in UNTIMED_WITNESSES else ""
        words = f"{step['verdict']}{witness} in {commits.blamed(base, sha)}"
        yield LastingPart(words, base, sha, step["log"], step["accepted"], step["verdict"], is_untimed=True)
    if not math.isnan(case["creep"]):
        first = history.checks.iloc[int(case["creep_start"])]
        last = history.checks.iloc[int(case["creep_end"])]
        number = int(case["creep_end"] - case["creep_start"]) + 1
        stretch = f"{bases[int(case['creep_start'])][:7]} to {heads[int(case['creep_end'])][:7] or UNCOMMITTED}"
        reason = accepts(case["case"], first["base_commit"], last["head_commit"], case["creep_low"])
        words = f"crept by {change(case['creep'])} over {plural(number, 'check')}, {stretch}"
        yield LastingPart(words, first["base_commit"], last["head_commit"], math.log(case["creep"]), reason)


def _accepted_drift(history: CheckHistory, rows: pd.DataFrame) -> "pd.Series[str]":
    """Return, by case, why the drift in the newest check against the baseline is accepted; empty if it is not."""
    newest = rows[rows["base_commit"].eq(history.baseline or "")]
    newest = newest[newest["place"].eq(newest["place"].max())]
    return newest.set_index("case")["accepted"].rename("drift_accepted")


def bars(line: pd.DataFrame) -> str:
    """Return the beginning and the newest levels of a line as bars from ▁ to █, a dot for each that is not known."""
    levels = [1.0, *line["level"]][-MAX_BARS:]
    is_known = [True, *line["is_known"]][-MAX_BARS:]
    logs = [math.log(level) for level in levels]
    low = min(logs)
    reach = max(max(logs) - low, LEAST_SPAN)
    heights = [min(len(BARS) - 1, int((each - low) / reach * len(BARS))) for each in logs]
    return "".join(
        BARS[height] if has_level else UNKNOWN_BAR for height, has_level in zip(heights, is_known, strict=True)
    )

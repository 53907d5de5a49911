"""The answer of `rnnbench bisect`, in words and as JSON: each commit that made cases slower, and what is left open."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from rnnbench.analysis.bisection import Bisection, CaseChange, SlowCommit
from rnnbench.analysis.comparison import WORK
from rnnbench.report.verdicts.outputs import NAMED, few, rendered
from rnnbench.report.verdicts.words import differences
from rnnbench.report.words.names import names, one_line
from rnnbench.report.words.units import change_span, duration, round_percent, slower
from rnnbench.text import first_few, plural

SCHEMA_VERSION = 1


def text(answer: Bisection) -> str:
    """Return the whole answer as plain text."""
    name_of, _ = names(answer.cases)
    labels = {case.key: name_of(case) for case in answer.cases}

    def worst_first(changes: Mapping[str, CaseChange]) -> list[str]:
        """Return `gru loop: 5.1% slower (+4.2% to +6.0%)` for each case."""
        return [f"{labels[key]}: {_size(changes[key])}" for key in sorted(changes, key=lambda key: -changes[key].log)]

    def work(cause: SlowCommit) -> str:
        """Return the counts that differ in the case in which most do."""
        counts = max((change.changes for change in _slow(cause.cases).values()), key=len, default=())
        return differences(each for each in counts if each.metric in WORK)

    return rendered(
        "bisection.txt",
        answer=answer,
        named=NAMED,
        slow=_slow,
        is_slower=any(change.verdict == "regressed" for change in answer.total.values()),
        worst_first=worst_first,
        work=work,
        unexplained=few([labels[key] for key in answer.unexplained]),
        commits=lambda commits: first_few([commit.short for commit in commits], NAMED),
        plural=plural,
        one_line=one_line,
        duration=duration,
        round_percent=round_percent,
    ).removesuffix("\n")


def _slow(cases: Mapping[str, CaseChange]) -> Mapping[str, CaseChange]:
    """Return the slower cases; all, if time shows none."""
    return {key: change for key, change in cases.items() if change.verdict == "regressed"} or cases


def _size(change: CaseChange) -> str:
    return f"{slower(change.ratio.value)} ({change_span(change.ratio)})" if change.ratio else "its time is not known"


def as_json(answer: Bisection) -> str:
    """Return everything that is known, as one JSON object."""
    content = {"schema_version": SCHEMA_VERSION, **asdict(answer), "is_complete": answer.is_complete}
    content["cases"] = [case.key for case in answer.cases]
    for part, of_part in ((content, "total"), *((cause, "cases") for cause in content["causes"])):
        part[of_part] = [{"case": key, **change} for key, change in part[of_part].items()]
    return json.dumps(content, indent=2, allow_nan=False) + "\n"

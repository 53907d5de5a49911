"""Tables: each case in several runs, and how the environments of these runs differ."""

from typing import Any

import pandas as pd

from rnnbench.analysis.estimate import Estimate, estimate_columns
from rnnbench.analysis.together import Together, TogetherRow
from rnnbench.analysis.verdict import Judged, Q, Verdict
from rnnbench.report.tables.table import Column, Table, table
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.case_names import Names
from rnnbench.report.words.changes import change_with_interval
from rnnbench.report.words.processors import identity
from rnnbench.report.words.units import MISSING, ratio_with_interval, round_percent
from rnnbench.store.processor import Processor

SAID: dict[Verdict, str] = {
    "regressed": "slower",
    "improved": "faster",
    "unchanged": "same",
    "undecided": "undecided",
    "incomparable": "incomparable",
}


def cases(found: Together, names: Names, runs: list[str]) -> Table:
    """One row for each case: its ratio in each run, and each run against the first. Largest differences first."""
    rows = sorted(found.rows, key=_rank)
    columns = [Column("case", lambda row: names.name(row["row"].case))]
    columns += [_ratio(index, name) for index, name in enumerate(runs)]
    for index, name in enumerate(runs[1:]):
        columns += _change(index, name if len(runs) > 2 else "", found)
    later = runs[1] if len(runs) == 2 else "each later run"
    note = (
        "Each ratio is to the reference of the same run, with its 95% interval. Change: "
        f"{later} against {runs[0]}, in the mean of the calls where that decides. "
        f"Slower, faster: by more than {round_percent(found.margin)}, "
        f"at a false discovery rate of {round_percent(Q)} on average (Benjamini and Hochberg); same: the 95% intervals "
        "lie within that margin."
    )
    frame = pd.DataFrame({"row": pd.Series(rows, dtype=object)})
    return table("together", "The same cases in the runs", note, columns, frame, machine=_machine(found, rows))


def environments(found: Together, runs: list[str]) -> Table:
    """One row for each key that differs between the runs."""
    frame = pd.DataFrame(
        [{"what": key, **dict(enumerate(values))} for key, values in found.unlike.items()],
        columns=["what", *range(len(runs))],
    )
    columns = [Column("what", lambda row: one_line(row["what"].replace("_", " ")))]
    columns += [Column(name, _value(index)) for index, name in enumerate(runs)]
    machine = pd.DataFrame(
        {"what": list(found.unlike)}
        | {name: [str(values[index]) for values in found.unlike.values()] for index, (name, _) in enumerate(found.runs)}
    )
    note = "" if found.unlike else "Nothing that is recorded of the environments differs."
    return table("together_environment", "What is not the same in the runs", note, columns, frame, machine=machine)


def environment_value(value: Any) -> str:
    """A value of an environment on one line."""
    if isinstance(value, Processor):
        return identity(value)
    return one_line(MISSING if value is None else value)


def _rank(row: TogetherRow) -> tuple[int, float]:
    known = [judged for judged in row.changes if judged is not None]
    decided = [abs(judged.deciding.value - 1) for judged in known if judged.verdict in ("regressed", "improved")]
    return (0, -max(decided)) if decided else (1 if known else 2, 0.0)


def _ratio(index: int, name: str) -> Column:
    def text(row: dict[str, Any]) -> str:
        estimate: Estimate | None = row["row"].ratios[index]
        return ratio_with_interval(estimate.value, estimate.lower, estimate.upper) if estimate else MISSING

    return Column(name, text, numeric=True)


def _change(index: int, name: str, found: Together) -> list[Column]:
    def of(row: dict[str, Any]) -> Judged | None:
        judged: Judged | None = row["row"].changes[index]
        return judged

    def size(row: dict[str, Any]) -> str:
        judged = of(row)
        return change_with_interval(judged) if judged else MISSING

    def word(row: dict[str, Any]) -> str:
        verdict = _verdict(found, index, row["row"])
        return SAID[verdict] if verdict else MISSING

    head = f"change, {name}" if name else "change"
    return [Column(head, size, numeric=True), Column("verdict", word)]


def _value(index: int) -> Any:
    return lambda row: environment_value(row[index])


def _machine(together: Together, rows: list[TogetherRow]) -> pd.DataFrame:
    """One row for each case and run, so that any number of runs fits the same columns."""
    lines = []
    for row in rows:
        for index, ((name, _), estimate) in enumerate(zip(together.runs, row.ratios, strict=True)):
            judged = row.changes[index - 1] if index else None
            line: dict[str, Any] = {"case": row.case.key, "run": name}
            line |= estimate_columns("ratio_to_reference", estimate)
            line |= estimate_columns("change_to_first_run", judged.deciding if judged else None)
            verdict = _verdict(together, index - 1, row) if index else None
            lines.append(line | {"verdict": verdict, "decided_by": judged.decided_by if judged else None})
    return pd.DataFrame(lines)


def _verdict(found: Together, index: int, row: TogetherRow) -> Verdict | None:
    """The verdict on a case in a later run; None if it has no ratio in that run or the first."""
    if judged := row.changes[index]:
        return judged.verdict
    has_both = row.ratios[0] is not None and row.ratios[index + 1] is not None
    return "incomparable" if has_both and found.machines[index] else None

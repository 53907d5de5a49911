"""Comparisons made by hand: every verdict, and names that are hard to show."""

from dataclasses import replace
from typing import Any

from rnnbench.analysis.comparison import Change, Comparison, Finding, ordered
from rnnbench.analysis.estimate import Estimate
from rnnbench.analysis.verdict import CHANGED, Family, RatioName, Verdict
from rnnbench.store.records import Case
from tests.doubles.workload import case, reference_case

NASTY = "a|b\n<script>alert(1)</script>::error::%0A,\x1b[2J\x00[bold]"


def near(value: float, half: float = 0.009) -> Estimate:
    """An estimate with an interval around it."""
    return Estimate(value, value - half, value + half)


def finding(
    verdict: Verdict | None, low: float | Estimate | None = None, by: RatioName | None = "low", **more: Any
) -> Finding:
    """A finding of a small case, decided `by` a ratio or by counts; the mean is near the low quantile, and wider."""
    first = near(low) if isinstance(low, float) else low
    wide = None if first is None else Estimate(first.value + 0.002, first.lower - 0.004, first.upper + 0.008)
    is_by_time = first is not None and by is not None and verdict in CHANGED
    known: dict[str, Any] = {
        "case": case("lstm", phase="training", batch_size=16),
        "margin": 0.025,
        "mean": wide,
        "replicates": 16,
        "time_verdict": None if first is None else "unchanged" if verdict in CHANGED and not is_by_time else verdict,
        "deciding_ratio": by if is_by_time else None,
        "rule": "time" if is_by_time or first is None or verdict not in CHANGED else "more counts",
    }
    return Finding(verdict=verdict, low=first, **(known | more))


SLOWER = finding("regressed", 1.051, changes=(Change("operators", 412, 508), Change("allocations", 80, 100)))
LARGER = finding(
    "regressed",
    1.001,
    None,
    case=case("gru", phase="training", batch_size=16),
    changes=(Change("peak_bytes", 12_000_000, 19_000_000),),
)
FAILING = finding("regressed", case=case("vanilla", batch_size=16), reason="fails now: RuntimeError: boom")
SOME_CALLS = finding(
    "regressed", near(1.001, 0.004), "mean", mean=near(1.051, 0.012), case=case("gru", batch_size=16, phase="inference")
)
FASTER = finding("improved", 0.91, case=case("gru", "hoisted", batch_size=16), changes=(Change("operators", 508, 412),))
OPEN = finding("undecided", Estimate(1.013, 0.988, 1.039), case=case("lstm", "hoisted", batch_size=16))
SAME = finding("unchanged", near(1.004, 0.006), case=case("combined", batch_size=16))
APART = finding(
    "incomparable", case=case("combined", batch_size=1), reason="torch 2.8.0 in the base, 2.9.1 in the head"
)
ONE_SIDED = Finding(case("deep", batch_size=16), None, 0.0, "only in the head")
SKIPPED = Finding(
    case("combined", "hoisted", batch_size=16), None, 0.025, "skipped on both sides: combined can't be hoisted"
)
LONE = finding("undecided", replicates=1)
TOGETHER = [
    finding(
        "regressed",
        near(1.04 + 0.01 * number, 0.02),
        case=case("vanilla", batch_size=16 * number),
        replicates=5,
        family=Family("mine.py:Mine", 3, near(1.06)),
    )
    for number in (1, 2, 3)
]


def comparison(*findings: Finding, **more: Any) -> Comparison:
    """A live check of these findings."""
    known: dict[str, Any] = {
        "suite": "quick",
        "base": "main (1a2b3c4)",
        "head": "the working tree at 1a2b3c4, with uncommitted changes",
        "way": "paired",
        "seconds": 93.21,
    }
    return Comparison(findings=ordered(findings), **(known | more))


def unchanged(number: int) -> list[Finding]:
    """Findings of this many unchanged cases, each of its own size."""
    return [
        finding("unchanged", near(1 + 0.0001 * (n % 90), 0.006), case=case("vanilla", batch_size=n + 1))
        for n in range(number)
    ]


def every_verdict() -> Comparison:
    return comparison(
        *(SLOWER, LARGER, FAILING, SOME_CALLS, FASTER, OPEN, SAME, APART, ONE_SIDED, SKIPPED, LONE),
        notes=("head: a worker was lost at cell=vanilla: it was killed",),
    )


def realistic() -> Comparison:
    """A suite of 24 cases, two of which a commit made slower."""
    sizes: dict[str, Any] = {"seq_len": 32, "hidden_size": 128}
    cases = [
        case(cell, implementation, phase=phase, batch_size=batch, **sizes)
        for cell in ("vanilla", "lstm", "gru")
        for implementation in ("loop", "hoisted")
        for phase in ("inference", "training")
        for batch in (1, 16)
    ]
    special = {
        9: SLOWER,
        11: finding("regressed", 1.034),
        15: finding("undecided", Estimate(1.013, 0.988, 1.039)),
        20: FASTER,
    }
    findings = [
        replace(special.get(n) or finding("unchanged", near(1 + 0.001 * (n % 5 - 2), 0.007)), case=subject)
        for n, subject in enumerate(cases)
    ]
    return comparison(
        *findings,
        *(
            Finding(subject, None, 0.0, "only in the head")
            for subject in (reference_case(**sizes), case("deep", **sizes))
        ),
    )


def nasty() -> Comparison:
    """A user's names and messages that would break a table, a terminal or a log."""
    bad = Case(NASTY, "loop", case("gru").workload)
    return comparison(
        finding("regressed", 1.2, case=bad),
        finding("regressed", case=case("gru", batch_size=9), reason=f"fails now: {NASTY}"),
        Finding(Case(f"\udcff{NASTY}", "loop", case("gru").workload), None, 0.0, f"only in the {NASTY}"),
        base=NASTY,
        notes=(NASTY,),
    )


def large(regressed: int = 40, total: int = 2000) -> Comparison:
    """Far more cases than anybody reads."""
    slow = [
        finding("regressed", 1.03 + 0.001 * n, case=case("lstm", batch_size=n + 1), changes=(Change("macs", 8, 9 + n),))
        for n in range(regressed)
    ]
    return comparison(*slow, *unchanged(total - regressed))

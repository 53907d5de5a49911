"""`python -m tests.gpu.slowed [DEVICE [SECONDS]]`: a check in which one cell was slowed by 5%, and another was not.

The exit code is 1 if a slowed case is called unchanged or improved, or another case regressed; and 3 if too little is
decided to show anything: no slowed case regressed, or no other case is unchanged by its time.
"""

import sys
from collections.abc import Sequence

from rnnbench.analysis.comparison import Finding
from rnnbench.report.words.units import ratio_with_interval
from tests.validation.verdicts import one_check

SLOWED = "GRUSlow"
SAME = "GRUSame"
# Four cases, of both phases: a pair of CUDA workers takes 8 s to start.
ONLY = [f"cell=planted.py:{SLOWED},planted.py:{SAME} batch_size=16"]
UNDECIDED = 3


def is_wrong(finding: Finding) -> bool:
    """Return True for a verdict that can't be; that of a case which runs the same code on both sides needs no time."""
    right = ("regressed", "undecided") if is_slowed(finding) else ("unchanged", "undecided")
    return (finding.time_verdict or finding.verdict) not in right


def is_slowed(finding: Finding) -> bool:
    """Return True for a case of the slowed cell."""
    return str(finding.case.axes()["cell"]).endswith(f":{SLOWED}")


def change(finding: Finding) -> str:
    """Return the ratio with its interval and the pairs behind it, or why there is none."""
    if finding.low is None:
        return finding.reason
    ratio = ratio_with_interval(finding.low.value, finding.low.lower, finding.low.upper)
    return f"{ratio} {finding.state} {finding.replicates} pairs".replace("  ", " ")


def main(device: str, budget_seconds: float) -> int:
    """Print each case's verdict and return whether one is wrong."""
    comparison = one_check({SLOWED: 0.05, SAME: 0.0}, budget_seconds, device=device, only=ONLY)
    print("\n".join(comparison.notes))
    findings = comparison.findings
    for finding in findings:
        axes = finding.case.axes()
        name = f"{str(axes['cell']).rpartition(':')[2]} {axes['phase']} batch {axes['batch_size']}"
        print(f"{name:<32} {finding.time_verdict!s:<13} {change(finding)}{'   wrong' if is_wrong(finding) else ''}")
    slowed = [finding for finding in findings if is_slowed(finding)]
    caught, cleared, wrong = counts(findings)
    others = len(findings) - len(slowed)
    print(
        f"caught {caught} of {len(slowed)} slowed cases, cleared {cleared} of {others} others, {wrong} wrong verdicts"
    )
    return exit_code(findings)


def counts(findings: Sequence[Finding]) -> tuple[int, int, int]:
    """Return how many slowed cases regressed, how many others are unchanged by their time, and the wrong verdicts."""
    caught = sum(is_slowed(finding) and finding.time_verdict == "regressed" for finding in findings)
    cleared = sum(not is_slowed(finding) and finding.time_verdict == "unchanged" for finding in findings)
    return caught, cleared, sum(map(is_wrong, findings))


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 for a wrong verdict, 3 if nothing was shown, else 0."""
    caught, cleared, wrong = counts(findings)
    return 1 if wrong else 0 if caught and cleared else UNDECIDED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda", float(sys.argv[2]) if len(sys.argv) > 2 else 120.0))

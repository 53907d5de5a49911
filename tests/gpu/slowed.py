"""`python -m tests.gpu.slowed [DEVICE [SECONDS]]`: a check in which one cell was slowed by 5%.

The exit code is 1 if a slowed case is called unchanged or improved, or another case regressed. A slowed case may be
`undecided`: then the table says so.
"""

import sys

from rnnbench.analysis.comparison import Finding
from tests.validation.verdicts import one_check

SLOWED = "GRUSlow"


def is_wrong(finding: Finding) -> bool:
    """Return True for a verdict that can't be; that of a case which runs the same code on both sides needs no time."""
    right = ("regressed", "undecided") if is_slowed(finding) else ("unchanged", "undecided")
    return (finding.time_verdict or finding.verdict) not in right


def is_slowed(finding: Finding) -> bool:
    """Return True for a case of the slowed cell."""
    return str(finding.case.axes()["cell"]).endswith(f":{SLOWED}")


def main(device: str, budget_seconds: float) -> int:
    """Print each case's verdict and return whether one is wrong."""
    findings = one_check({SLOWED: 0.05}, budget_seconds, device=device).findings
    for finding in findings:
        axes, change = finding.case.axes(), f"{finding.low.value:.3f}" if finding.low else finding.reason
        name = f"{str(axes['cell']).rpartition(':')[2]} {axes['phase']} batch {axes['batch_size']}"
        print(f"{name:<32} {finding.time_verdict!s:<13} {change}{'   wrong' if is_wrong(finding) else ''}")
    wrong, slowed = sum(map(is_wrong, findings)), [finding for finding in findings if is_slowed(finding)]
    caught = sum(finding.time_verdict == "regressed" for finding in slowed)
    print(f"caught {caught} of {len(slowed)} slowed cases, {wrong} verdicts are wrong, {len(findings)} cases")
    return int(wrong > 0 or not slowed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda", float(sys.argv[2]) if len(sys.argv) > 2 else 120.0))

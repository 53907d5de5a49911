"""`python -m tests.gpu.slowed [DEVICE [SECONDS]]`: a check in which one cell was slowed by 5%.

The exit code is 1 if a slowed case is called unchanged or improved, or another case regressed. A slowed case may be
`undecided`: then the table says so.
"""

import sys

from rnnbench.analysis.verdict import Verdict
from tests.validation.verdicts import one_check

SLOWED = "GRUSlow"
RIGHT: dict[bool, tuple[Verdict, ...]] = {True: ("regressed", "undecided"), False: ("unchanged", "undecided")}


def main(device: str, budget_seconds: float) -> int:
    """Print each case's verdict and return whether one is wrong."""
    comparison = one_check({SLOWED: 0.05}, budget_seconds, device=device)
    wrong = caught = slowed = 0
    for finding in comparison.findings:
        axes = finding.case.axes()
        cell = str(axes["cell"]).rpartition(":")[2]
        is_slowed = cell == SLOWED
        is_wrong = finding.time_verdict not in RIGHT[is_slowed]
        wrong += is_wrong
        slowed += is_slowed
        caught += is_slowed and finding.time_verdict == "regressed"
        change = f"{finding.low.value:.3f}" if finding.low else finding.reason
        name = f"{cell} {axes['phase']} batch {axes['batch_size']}"
        print(f"{name:<32} {finding.time_verdict!s:<13} {change}{'   wrong' if is_wrong else ''}")
    print(f"caught {caught} of {slowed} slowed cases, {wrong} verdicts are wrong, {len(comparison.findings)} cases")
    return int(wrong > 0 or slowed == 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda", float(sys.argv[2]) if len(sys.argv) > 2 else 120.0))

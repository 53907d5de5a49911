"""`python -m tests.gpu.slowed [DEVICE [SECONDS]]`: a check in which one cell was slowed by 5% and the others were not.

The exit code is 1 where the slowed cell is not found in every case, or another one is blamed.
"""

import sys

from tests.validation.verdicts import one_check

SLOWED = "GRUSlow"


def main(device: str, budget_seconds: float) -> int:
    """Print each case's verdict; whether one is wrong."""
    comparison = one_check({SLOWED: 0.05}, budget_seconds, every_tenth=False, device=device)
    wrong = 0
    for finding in comparison.findings:
        axes = finding.case.axes()
        cell = str(axes["cell"]).rpartition(":")[2]
        is_slowed = cell == SLOWED
        is_wrong = finding.time_verdict not in (("regressed",) if is_slowed else ("unchanged", "inconclusive"))
        wrong += is_wrong
        change = f"{finding.low.value:.3f}" if finding.low else finding.reason
        name = f"{cell} {axes['phase']} batch {axes['batch_size']}"
        print(f"{name:<32} {finding.time_verdict!s:<13} {change}{'   wrong' if is_wrong else ''}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cuda", float(sys.argv[2]) if len(sys.argv) > 2 else 120.0))

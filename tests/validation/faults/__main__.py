"""`python -m tests.validation.faults [SHARE] [KIND]`: a share of the faults, or of one kind, printed and not kept."""

import sys

from tests.validation.faults import faults

if __name__ == "__main__":
    share, only, *_ = (*sys.argv[1:], *("0.05", "")[len(sys.argv) - 1 :])
    print(faults(float(share), only).to_string())

"""How much of the gap to torch.nn stays unexplained in each group of `ladder` with sequences of 16 steps.

`gap` and `rest` are of the first rung. A rest whose interval contains zero may be chance. Where `note` says that the
profiled calls were unlike the timed ones, the part below the last rung was not taken apart.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from rnnbench.analysis.gaps.gap import Gap, gaps
from rnnbench.analysis.runs.run_times import read
from rnnbench.store.folder import read_profiles

AXES = ("cell", "phase", "batch_size", "hidden_size")
COMMAND = ("profile", "ladder", "--only", "seq_len=16", "--budget", "20m")


def unexplained() -> pd.DataFrame:
    """Run the suite with profiles, and return a row for each group."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "rnnbench", *COMMAND, "--out", folder], check=True)
        [run] = Path(folder).iterdir()
        return of_run(run)


def of_run(run: Path) -> pd.DataFrame:
    """A row for each group of a run with profiles."""
    return pd.DataFrame([_row(gap) for gap in gaps(read(run), read_profiles(run))])


def _row(gap: Gap) -> dict[str, object]:
    return {
        **{axis: gap.axes[axis] for axis in AXES},
        "ratio": gap.ratio.value,
        "gap (us)": 1e6 * gap.seconds.value,
        "rest / gap": gap.rest.share.value,
        "low": gap.rest.share.lower,
        "high": gap.rest.share.upper,
        "explained by": ", ".join(f"{step.kind} {1e6 * step.seconds.value:.0f} us" for step in gap.named),
        "note": gap.note,
    }

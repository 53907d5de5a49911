"""The columns of exported frames: those of `rnnbench.load`, so that `rnnbench.summarize` takes what was read back.

Beside them stands where a row comes from, so that rows of many runs can be put together.
"""

import pandas as pd

from rnnbench.analysis.environments.differences import processor
from rnnbench.report.export.exported import ExportedRun
from rnnbench.report.words.processors import identity
from rnnbench.store.frames import with_categories
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.record import MAX_INTEGER
from rnnbench.store.run_info import RunInfo

WHOLE = ("warmup_windows", *(metric.name for metric in OBSERVED if metric.unit in ("count", "bytes")))


def exported_frame(run: ExportedRun) -> pd.DataFrame:
    """The windows of a run if they are asked for, else its cases; counts are whole numbers, also with some missing."""
    frame = with_categories(run.summary if run.windows is None else run.windows)
    counts = [name for name in WHOLE if name in frame and _are_whole(frame[name].dropna())]
    frame = frame.astype(dict.fromkeys(counts, "Int64"))
    return frame.assign(**{name: _constant(value, frame.index) for name, value in origin(run.info).items()})


def origin(info: RunInfo) -> dict[str, str]:
    """The commit, processor, nodes and torch of a run, in words; empty where they are not known.

    Nodes are those of a cluster: the name of somebody's own machine is not recorded.
    """
    environment = info.environment
    git, machine, worker, slurm = (environment.get(part) or {} for part in ("git", "machine", "worker", "slurm"))
    known = processor(info)
    revision = str(git.get("commit") or "")
    return {
        "commit": f"{revision}{'+' if revision and git.get('dirty') else ''}",
        "processor": "; ".join(filter(None, [str(machine.get("cpu") or ""), identity(known) if known else ""])),
        "node": ", ".join(map(str, slurm.get("nodes") or [])),
        "torch": str(worker.get("torch") or ""),
    }


def _constant(value: str, index: pd.Index) -> pd.Series:
    """The same text in each row; missing if it is empty."""
    texts = pd.Series([value or None], dtype="str").astype("category")
    return texts.iloc[[0] * len(index)].set_axis(index)


def _are_whole(values: "pd.Series[float]") -> bool:
    """Whether a column of whole numbers can hold all values."""
    return bool(((values % 1 == 0) & (values.abs() < MAX_INTEGER)).all())

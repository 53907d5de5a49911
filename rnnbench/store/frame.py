"""A run folder as one pandas frame."""

from dataclasses import fields
from pathlib import Path

import pandas as pd

from rnnbench.errors import UserError
from rnnbench.store.folder import read_info, read_measurements, read_windows
from rnnbench.store.records import AXES, Measurement, Window

MEASUREMENT_COLUMNS = [field.name for field in fields(Measurement) if field.name != "case"]
WINDOW_COLUMNS = [field.name for field in fields(Window) if field.name != "case"]


def load(path: str | Path) -> pd.DataFrame:
    """A run as one row for each window; a case without windows keeps one row, with its status and reason.

    Columns, beside the axes (`cell`, `implementation`, `reference`, `phase`, `task`, `batch_size`, `seq_len`,
    `input_size`, `hidden_size`, `output_size`, `num_layers`, `dtype`, `device`, `threads`):

    - `run`, `case`: the folder's name, and the case's key, an `--only` expression that selects it;
    - `status` (`measured`, `skipped`, `failed`, or `pending` where the run ended before it) and `reason`;
    - `parity`, `parity_error`: whether outputs and gradients agree with torch.nn's, and the largest relative error;
    - `parameters`, and torchinfo's `mult_adds`, `input_bytes`, `forward_backward_bytes`, `parameter_bytes` of a step;
    - `macs`: multiply-accumulates of the matrix products of one call, backward included;
    - `operators`: torch operators that one call enters, those that autograd calls included;
    - `allocations`: blocks of memory that one call asks for;
    - `peak_bytes`: most memory that one call holds at once, beside what was there before it; these four are NaN in a
      run that was recorded by an older rnnbench;
    - `warmup_windows`: windows run before the time stopped falling;
    - `replicate`, `worker`: the unit of statistics, and its process;
    - `order`, `turns`: the window's place in the visit of its group, and the windows of the whole visit;
    - `started` (seconds since the run began), `calls`, `batch` (calls clocked together);
    - `seconds`, `host_seconds` of the whole window; `quantiles`: up to 11 evenly spaced ones of seconds per call;
    - `cores` it ran on, `clock_mhz` where the system tells.

    Raises UserError where the folder is no run, or a line other than a torn last one can't be read.
    """
    path = Path(path)
    read_info(path)
    cases = pd.DataFrame(read_measurements(path), columns=["case", *AXES, *MEASUREMENT_COLUMNS])
    order = cases["case"].drop_duplicates()
    cases = cases.drop_duplicates("case", keep="last").set_index("case").loc[order].reset_index()
    windows = pd.DataFrame(read_windows(path), columns=["case", *WINDOW_COLUMNS])
    unknown = set(windows["case"]) - set(cases["case"])
    if unknown:
        raise UserError(f"{path}: windows of a case that measurements.jsonl does not have: {min(unknown)}")
    frame = cases.merge(windows, on="case", how="left")
    frame.insert(0, "run", path.name)
    return frame

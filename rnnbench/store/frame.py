"""A run folder as one pandas frame."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from rnnbench.errors import UserError
from rnnbench.store.ceilings import PLACE, Ceiling
from rnnbench.store.folder import read_info, read_measurements, read_windows
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.records import AXES, DEFAULTS, PLAIN, Window

MEASUREMENT_COLUMNS = [*PLAIN, *(metric.name for metric in OBSERVED), "missing"]
WINDOW_COLUMNS = [field.name for field in fields(Window) if field.name != "case"]


def load(path: str | Path) -> pd.DataFrame:
    """A run as one row for each window; a case without windows keeps one row, with its status and reason.

    Columns, beside the axes (`cell`, `implementation`, `reference`, `phase`, `task`, `batch_size`, `seq_len`,
    `input_size`, `hidden_size`, `output_size`, `num_layers`, `dtype`, `device`, `threads`, `output_len`,
    `bidirectional`, `dropout`, `lengths`, `samples`, `workers`; no samples where no data set is loaded):

    - `run`, `case`: the folder's name, and the case's key, an `--only` expression that selects it;
    - `status` (`measured`, `skipped`, `failed`, or `pending` where the run ended before it) and `reason`;
    - `parity`, `parity_error`: whether outputs and gradients agree with torch.nn's, and the largest relative error;
    - `backend`: the operator that runs the whole layer, or `aten` where it is made of plain ones;
    - `ceiling`: the best that its device, type and threads can do (`rnnbench.store.ceilings.Ceiling`); None where that
      was not measured;
    - the observed metrics of `rnnbench.store.metrics.METRICS`, which says what each is: `parameters`, `macs`,
      `peak_bytes` and so on; NaN where one could not be observed, with the reason in `missing` (name -> reason);
    - `cold_cache`: whether the last-level cache was flushed before every call;
    - `warmup_windows`: windows run before the time stopped falling;
    - `replicate`, `worker`: the unit of statistics, and its process;
    - `order`, `turns`: the window's place in the visit of its group, and the windows of the whole visit;
    - `started` (seconds since the run began), `calls`, `batch` (calls clocked together);
    - `seconds` of the window's calls by the device's clock; `host_seconds` of the whole window, flushes included, and
      of these `submit_seconds`, in which the host did not wait; `quantiles`: up to 11 evenly spaced ones of seconds
      per call;
    - `cores` it ran on, `clock_mhz` where the system tells, `device_uuid` of the card that did it.

    Raises UserError where the folder is no run, or a line other than a torn last one can't be read.
    """
    path = Path(path)
    info = read_info(path)
    ceilings = {_place(asdict(one)): one for one in map(Ceiling.from_json, info.ceilings)}
    lines = (DEFAULTS | line for line in read_measurements(path))  # an older rnnbench had fewer axes
    cases = pd.DataFrame(lines, columns=["case", *AXES, *MEASUREMENT_COLUMNS])
    order = cases["case"].drop_duplicates()
    cases = cases.drop_duplicates("case", keep="last").set_index("case").loc[order].reset_index()
    places: Any = [ceilings.get(_place(axes)) for axes in cases[list(PLACE)].to_dict("records")]
    cases["ceiling"] = pd.Series(places, index=cases.index, dtype=object)
    cases["cold_cache"] = bool(info.caches)
    windows = pd.DataFrame(read_windows(path), columns=["case", *WINDOW_COLUMNS])
    unknown = set(windows["case"]) - set(cases["case"])
    if unknown:
        raise UserError(
            f"{path}: windows of a case that measurements.jsonl does not have: {min(unknown)}; one is another run's"
        )
    frame = cases.merge(windows, on="case", how="left")
    frame.insert(0, "run", path.name)
    return frame


def _place(axes: Mapping[Any, Any]) -> tuple[Any, ...]:
    return tuple(axes[axis] for axis in PLACE)

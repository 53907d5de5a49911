"""The cases of a run as a frame: a row for each, with everything that is known of it beside its times."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from rnnbench.store.ceilings import PLACE, Ceiling
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.records import AXES, DEFAULTS, PLAIN
from rnnbench.store.run_info import RunInfo
from rnnbench.text import writable

OBSERVED_COLUMNS = [metric.name for metric in OBSERVED]
# What is stored of a case beside its times. `missing` and `ceiling` are JSON, since files of frames hold no objects.
CASE_COLUMNS = ["run", "case", *AXES, *PLAIN, *OBSERVED_COLUMNS, "missing", "ceiling", "period_seconds"]


def case_frame(path: Path, info: RunInfo, lines: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each case, with the columns `CASE_COLUMNS`, from the last line of each, in their order."""
    ceilings = {_place(asdict(ceiling)): ceiling.to_text() for ceiling in map(Ceiling.from_json, info.ceilings)}
    # An older rnnbench had fewer axes, and suspected nothing. Cold caches were a setting of the whole run.
    measure = info.resolved.get("measure", {})
    caches = "cold" if measure.get("cold_cache") else DEFAULTS["caches"]
    defaults = {**DEFAULTS, "caches": caches, "suspicion": ""}
    columns: dict[str, list[Any]] = {name: [] for name in ("case", *AXES, *PLAIN, *OBSERVED_COLUMNS, "missing")}
    for line in lines.values():
        for name, values in columns.items():
            values.append(line.get(name, defaults.get(name)))
    frame = pd.DataFrame(columns)
    frame = frame.astype(dict.fromkeys((*OBSERVED_COLUMNS, "parity_error", "warmup_windows"), float))
    frame["missing"] = pd.Series(map(missing_text, frame["missing"]), index=frame.index, dtype=str)
    places = frame[list(PLACE)].itertuples(index=False, name=None)
    frame["ceiling"] = pd.Series((ceilings.get(place, "") for place in places), index=frame.index, dtype=str)
    period = measure.get("period_seconds")
    frame["period_seconds"] = math.nan if period is None else float(period)
    frame["case"] = frame["case"].astype(object)  # the keys themselves, of which there is one for each row
    frame.insert(0, "run", pd.Series(writable(path.name), index=frame.index, dtype=object))
    return frame


def missing_text(reasons: Any) -> str:
    """Why metrics are missing, as the column `missing` holds it: JSON, metric -> reason; empty without reasons."""
    return json.dumps(reasons) if isinstance(reasons, Mapping) and reasons else ""


def missing_reasons(text: Any) -> dict[str, str]:
    """The inverse of `missing_text`; empty for anything else, since older exports have other values there."""
    try:
        reasons = json.loads(text) if isinstance(text, str) and text else {}
    except ValueError:
        return {}
    return reasons if isinstance(reasons, dict) else {}


def _place(axes: Mapping[Any, Any]) -> tuple[Any, ...]:
    return tuple(axes[axis] for axis in PLACE)

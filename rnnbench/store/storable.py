"""Values from a worker or a user's code, made valid for the reader: rnnbench can read all that it writes."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import TYPE_CHECKING, Any

from rnnbench.store import schema
from rnnbench.store.jsonlines import clean
from rnnbench.store.metrics import OBSERVED
from rnnbench.store.profiles import Profile
from rnnbench.store.records import PLAIN, Measurement
from rnnbench.store.value_kinds import MAX_INTEGER, NUMBER, shown

if TYPE_CHECKING:
    from rnnbench.store.run_info import RunInfo

DEFAULTS = {field.name: field.default for field in fields(Measurement) if field.default is not MISSING}


def measurement(known: Measurement) -> Measurement:
    """The measurement as it will be read; a metric without a finite value is missing, with that value as the reason."""
    line: dict[str, Any] = clean(known.to_json())
    missing = {name: reason if isinstance(reason, str) else shown(reason) for name, reason in line["missing"].items()}
    for metric in OBSERVED:
        value = line.get(metric.name)
        if value is not None and not NUMBER.holds(value):
            missing[metric.name] = f"its value is no number that can be stored: {shown(value)}"
            line[metric.name] = None
    for name in PLAIN:
        if name in DEFAULTS and not schema.MEASUREMENT[name].holds(line[name]):
            line[name] = DEFAULTS[name]
    return Measurement.from_json(line | {"missing": missing})


def profile(taken: Profile) -> Profile:
    """The profile as it will be read; one with invalid values has failed, with the first of them as the reason."""
    line: dict[str, Any] = clean(taken.to_json())
    fault = schema.profile_fault(line)
    return (
        Profile(line["case"], "failed", f"its profile can't be stored: {fault}") if fault else Profile.from_json(line)
    )


def info(content: "RunInfo") -> dict[str, Any]:
    """The content of `run.json`. Ceilings that are not valid are left out, and a note says so."""
    line: dict[str, Any] = _within_bounds(clean(asdict(content)))
    sound = [ceiling for ceiling in line["ceilings"] if schema.is_ceiling(ceiling)]
    if left_out := len(line["ceilings"]) - len(sound):
        line["notes"].append(f"limits of the machine left out, since they are no numbers: {left_out}")
    if not content.id:
        del line["id"]  # of an older version, which must be able to read the run again
    return line | {"ceilings": sound}


def _within_bounds(value: Any) -> Any:
    """The value, with infinity in place of whole numbers that no table holds."""
    match value:
        case Mapping():
            return {key: _within_bounds(inner) for key, inner in value.items()}
        case list():
            return [_within_bounds(inner) for inner in value]
        case int() if abs(value) >= MAX_INTEGER:
            return math.inf if value > 0 else -math.inf
    return value

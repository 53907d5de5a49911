"""Table: the run, the machine and the software, with whatever keys were recorded."""

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from rnnbench.report.tables.table import Column, Table, table
from rnnbench.report.words.axes import one_line
from rnnbench.report.words.processors import identity
from rnnbench.report.words.units import duration, memory, rate
from rnnbench.store.ceilings import REGISTERS, Ceiling, Sized
from rnnbench.store.processor import Processor
from rnnbench.store.run_info import RunInfo
from rnnbench.text import plural


def render(info: RunInfo) -> Table:
    """One row for each fact: a list of plain values is one row, a dictionary one row for each entry."""
    run = {
        "suite": info.suite,
        "description": info.description,
        "command": info.command,
        "started": info.started,
        "status": info.status,
        "wall time": None if info.seconds is None else duration(info.seconds),
        "finished replicates": info.replicates,
        "notes": info.notes,
    }
    stages = {f"{stage}_seconds": seconds for stage, seconds in info.stage_seconds.items()}
    known = [
        *(("run", label, value) for label, value in run.items()),
        *_facts("before the timing", stages),
        *(("limits", _place(ceiling), ceiling) for ceiling in map(Ceiling.from_json, info.ceilings)),
        *_facts("environment", info.environment),
    ]
    frame = pd.DataFrame(known, columns=["about", "what", "value"])
    columns = [
        Column("what", lambda row: one_line(f"{_label(row['about'])}: {_label(row['what'])}")),
        Column("value", lambda row: one_line(_show(row["what"], row["value"]))),
    ]
    machine = frame.assign(value=[_plain(value) for value in frame["value"]])
    return table("environment", "The run, the machine and the software", "", columns, frame, machine=machine)


def facts(environment: dict[str, Any]) -> list[tuple[str, str]]:
    """The name and the value of each fact of an environment, for a terminal."""
    return [
        (f"{_label(about)}: {_label(what)}", _show(what, value))
        for about, what, value in _facts("environment", environment)
    ]


def _facts(about: str, tree: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Plain values first, then every branch under its own name."""
    branches = {key: value for key, value in tree.items() if isinstance(value, dict) and key != "processor"}
    for key, value in tree.items():
        if key == "processor":
            yield about, key, Processor.from_json(value)
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            branches |= {f"{key} {index}": item for index, item in enumerate(value) if isinstance(item, dict)}
        elif key not in branches:
            yield about, key, value
    for key, value in branches.items():
        yield from _facts(key if about == "environment" else f"{about}, {key}", value)


def _place(ceiling: Ceiling) -> str:
    """What a ceiling holds for: `cpu float32 1 thread`."""
    return f"{ceiling.device} {ceiling.dtype} {plural(ceiling.threads, 'thread')}"


def _limits(ceiling: Ceiling) -> str:
    """The best rates of a machine, in words."""
    by_speed = sorted(ceiling.products, key=lambda product: -product.value)
    products = [f"{rate(speed.value, 'MAC')} {_reached_by(speed.library)}" for speed in by_speed]
    launch = [] if ceiling.launch_seconds is None else [f"{duration(ceiling.launch_seconds)} a kernel in a queue"]
    parts = [
        f"arithmetic {', '.join(products)}",
        *(
            f"{kind} {rate(sized[-1].value, 'B')} of {memory(sized[-1].size)}, {rate(_best(sized), 'B')} at best"
            for kind, sized in (("copies", ceiling.copies), ("reads", ceiling.reads))
            if sized
        ),
        f"{duration(ceiling.dispatch_seconds)} an operator",
        *launch,
    ]
    return "; ".join(parts)


def _reached_by(library: str) -> str:
    return "on registers" if library == REGISTERS else f"in {library}"


def _best(sized: Sized) -> float:
    return max(speed.value for speed in sized)


def _label(key: str) -> str:
    return key.removesuffix("_bytes").removesuffix("_seconds").replace("_", " ")


def _show(key: str, value: Any) -> str:
    match value:
        case None:
            return "not known"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return _number(key, value)
        case Ceiling() | Processor():
            return _limits(value) if isinstance(value, Ceiling) else identity(value)
        case list():
            return ", ".join(_show(key, item) for item in value) or "none"
        case _:
            return str(value)


def _number(key: str, value: float) -> str:
    """A number with the unit that its key names."""
    return memory(value) if key.endswith("_bytes") else duration(value) if key.endswith("_seconds") else str(value)


def _plain(value: Any) -> str:
    """The exact value as text, for programs; empty if it is not known."""
    if isinstance(value, Ceiling | Processor):
        return json.dumps(value.to_json())
    return "" if value is None else "; ".join(map(str, value)) if isinstance(value, list) else str(value)

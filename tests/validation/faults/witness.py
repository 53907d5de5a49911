"""The command line, which notes in a separate file each stage and each window that it regards as stored.

A window's note is written once rnnbench regards it as stored: after any later kill the store must have it.
"""

import json
import os
from pathlib import Path
from typing import Any

from rnnbench.__main__ import main
from rnnbench.harness.coordinator.process import WorkerProcess
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.harness.coordinator.visit import Visitor
from rnnbench.store.folder import RunFolder


def _watch(kind: type, name: str, after: Any = None, before: str = "") -> None:
    """Note the stage `before` before a method is called, and `after` of its arguments after it has returned."""
    method = getattr(kind, name)

    def watched(*arguments: Any, **named: Any) -> Any:
        if before:
            _note({"stage": before})
        result = method(*arguments, **named)
        if after is not None:
            _note(after(*arguments[1:]))
        return result

    setattr(kind, name, watched)


def _note(line: dict[str, Any]) -> None:
    os.write(FILE, json.dumps(line).encode() + b"\n")


def written(window: dict[str, Any]) -> str:
    """A window as one line, without the id of its run."""
    return json.dumps({name: value for name, value in window.items() if name != "run"}, separators=(",", ":"))


def read(file: Path) -> tuple[str, list[str]]:
    """The last stage of a command, and the lines of the windows that it regarded as stored."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    stages = [line["stage"] for line in lines if "stage" in line]
    return stages[-1] if stages else "loading", [window for line in lines for window in line.get("windows", ())]


if __name__ == "__main__":
    FILE = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    _watch(WorkerProcess, "__init__", before="starting")
    _watch(RunFolder, "write_info", before="writing run.json")
    _watch(Runner, "run", before="observing", after=lambda: {"stage": "ending"})
    _watch(Visitor, "visit", before="timing")
    _watch(RunFolder, "add_window", lambda *windows: {"windows": [written(window.to_json()) for window in windows]})
    main()

"""The command line, with a note in a file of its own at each stage, and of each window that it takes to be stored.

A window's note is written once rnnbench holds the window to be kept: whatever kills it then, the store must have it.
"""

import json
import os
from pathlib import Path
from typing import Any

from rnnbench.__main__ import main
from rnnbench.harness.coordinator.recorder import Recorder
from rnnbench.harness.coordinator.runner import Runner
from rnnbench.store.folder import RunFolder


def _watch(kind: type, name: str, after: Any = None, before: str = "") -> None:
    """Note `before` before a method is called, and what `after` makes of its result after it has returned."""
    method = getattr(kind, name)

    def watched(*arguments: Any, **named: Any) -> Any:
        if before:
            _note({"stage": before})
        found = method(*arguments, **named)
        if after is not None:
            _note(after(found))
        return found

    setattr(kind, name, watched)


def _note(line: dict[str, Any]) -> None:
    os.write(FILE, json.dumps(line).encode() + b"\n")


def read(file: Path) -> tuple[str, list[str]]:
    """The stage that a command was last in, and the windows that it took to be stored, each as its line."""
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    stages = [line["stage"] for line in lines if "stage" in line]
    return stages[-1] if stages else "loading", [line["window"] for line in lines if "window" in line]


if __name__ == "__main__":
    FILE = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    _watch(Runner, "start", before="starting")
    _watch(RunFolder, "write_info", before="writing run.json")
    _watch(Runner, "run", before="observing", after=lambda found: {"stage": "ending"})
    _watch(Recorder, "prepare", before="timing")
    _watch(Recorder, "window", lambda window: {"window": json.dumps(window.to_json(), separators=(",", ":"))})
    main()

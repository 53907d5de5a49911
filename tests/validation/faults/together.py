"""The same run is resumed twice at once: one goes on, the other is refused with a message."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

from rnnbench import load, summarize
from tests.validation.faults.command import CASES, Command, life_seconds, runs, tiny
from tests.validation.faults.outcome import Outcome


def twice(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """Start two resumptions at almost the same time."""
    rng = random.Random(seed)
    with tiny(parent / "twice") as folder:
        life_seconds(folder, "run", "tiny.toml")
        [run] = runs(folder)
        suite = (folder / "tiny.toml").read_text()
        for number in range(times):
            longer = suite.replace("replicates = 3", f"replicates = {number + 4}")  # so that there is work left
            (folder / "tiny.toml").write_text(longer)
            commands = []
            for _ in range(2):
                commands.append(Command(folder, "run", "tiny.toml", "--resume", f"results/{run.name}"))
                time.sleep(rng.uniform(0, 0.3))
            ended = [command.end() for command in commands]
            frame = load(run).windows
            outcome = Outcome("the same run resumed twice at once", "resuming", len(frame))
            refused = [errors for code, errors in ended if code == 2 and "another rnnbench is writing" in errors]
            if sorted(code for code, _ in ended) != [0, 2] or len(refused) != 1:
                outcome.wrong.append(str(ended)[-1000:])
            outcome.doubled = int(frame.duplicated(["worker", "order", "case"]).sum())
            summary = summarize(load(run))
            if (summary["replicates"] < number + 4).any() or len(summary) != CASES:
                outcome.wrong.append("not whole")
            yield outcome

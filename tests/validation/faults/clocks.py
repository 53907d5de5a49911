"""The wall clock jumps during a run; its times come from a clock that does not."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from rnnbench import load, summarize
from rnnbench.store.folder import read_info
from tests.validation.faults.command import CASES, Command, life_seconds, runs, tiny
from tests.validation.faults.outcome import Outcome

JUMPS = ("+1y", "-20y", "+1d", "-1d", "+1h", "-1h")
LIBRARY = "faketime/libfaketimeMT.so.1"
LONGEST_SECONDS = 600  # of a run on a busy machine; the jumps are longer
FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")


def jumps(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """Let the clock jump half-way through a run, with libfaketime, which does not change the monotonic clock."""
    library = next((f"{path}/{LIBRARY}" for path in FOLDERS if Path(path, LIBRARY).exists()), None)
    for number, jump in zip(range(times), JUMPS, strict=False):
        outcome = Outcome("clock that jumps", jump)
        if library is None or shutil.which("faketime") is None:
            outcome.skipped = "libfaketime is not installed"
            yield outcome
            continue
        with tiny(parent / f"clock-{number}") as folder:
            seconds = life_seconds(folder, "run", "tiny.toml")
            [first] = runs(folder)
            clock = folder / "clock"
            _set(clock, "+0")
            command = Command(
                folder,
                "run",
                "tiny.toml",
                LD_PRELOAD=library,
                FAKETIME_TIMESTAMP_FILE=str(clock),
                FAKETIME_NO_CACHE="1",
                FAKETIME_DONT_FAKE_MONOTONIC="1",
            )
            time.sleep(0.6 * seconds)
            _set(clock, jump)
            code, errors = command.end()
            [run] = [path for path in runs(folder) if path != first]
            if code or "Traceback" in errors:
                outcome.wrong.append(f"exit code {code}: {errors[-1000:]}")
            else:
                loaded = load(run)
                frame = loaded.windows
                outcome.windows = len(frame)
                seen = [read_info(run).seconds or -1, frame["started"].min(), frame["started"].max()]
                if not all(0 < each < LONGEST_SECONDS for each in seen):
                    outcome.wrong.append(f"times of a clock that jumped: {seen}")
                if (summarize(loaded)["status"] == "measured").sum() != CASES:
                    outcome.wrong.append("not whole")
            yield outcome


def _set(clock: Path, offset: str) -> None:
    """In one step: libfaketime reads the file whenever it is asked for the time, and ends a process if it is empty."""
    new = clock.with_suffix(".new")
    new.write_text(f"{offset}\n")
    new.replace(clock)

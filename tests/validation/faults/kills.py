"""SIGKILL for the coordinator, in runs that are resumed until they are complete, and for workers."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from rnnbench import load, summarize
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.origin import STARTER
from rnnbench.store.folder import read_info
from tests.validation.faults import witness
from tests.validation.faults.command import CASES, Command, Outcome, life_seconds, lives, moments, runs, tiny

REPLICATES = 3


def coordinator(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """Kill a run, check its files, resume it and kill it again until it ends; then the next run."""
    folder = tiny(parent / "undisturbed")
    seconds = life_seconds(folder, "run", "tiny.toml")
    delays = moments(times, seconds, seed)
    number = 0
    while delays:
        number += 1
        folder = tiny(parent / f"run-{number}")
        yield from _one_run(folder, delays)


def _one_run(folder: Path, delays: list[float]) -> Iterator[Outcome]:
    """The lives of one run, all but the last ended by a kill; removes its delays from the list."""
    kept: list[str] = []  # windows that a life regarded as stored
    for life in range(10_000):
        note = folder / f"witness-{life}"
        run = next(iter(runs(folder)), None)
        resume = ["--resume", f"results/{run.name}"] if run and (run / "run.json").exists() else []
        command = Command(folder, "run", "tiny.toml", *resume, witness=note)
        delay = delays.pop() if delays else None
        was_killed = delay is not None and lives(command, delay)
        if was_killed:
            command.process.kill()
        elif delay is not None:  # it ended before the kill, so a later life is killed
            delays.insert(0, 0.97 * delay)
        code, errors = command.end()
        stage, windows = witness.read(note)
        kept += windows
        outcome = Outcome("coordinator killed", stage if was_killed else "whole", len(kept))
        outcome.wrong += command.orphans()
        if not was_killed and code != 0:
            outcome.wrong.append(errors)
        _compare(folder, kept, outcome)
        if was_killed:
            yield outcome
            for path in runs(folder):
                if not (path / "run.json").exists():
                    path.rename(folder / f"never-began-{life}")
            continue
        outcome.wrong += _whole(runs(folder)[0])
        yield outcome
        return


def _compare(folder: Path, kept: list[str], outcome: Outcome) -> None:
    """Check that the store opens and holds each window of `kept` exactly once."""
    stored: Counter[str] = Counter()
    for run in runs(folder):
        for file in run.glob("windows-*.jsonl"):
            stored.update(witness.written(json.loads(line)) for line in file.read_text().split("\n")[:-1])
        try:
            loaded = load(run)
        except UserError as fault:
            if (run / "run.json").exists() or kept:
                outcome.wrong.append(f"does not open: {fault}")
            continue
        timed = loaded.windows
        if len(timed) != stored.total() or timed.duplicated(["worker", "order", "case"]).any():
            outcome.wrong.append("the frame has other windows than the files")
        if len(loaded.frame) != CASES:
            outcome.wrong.append(f"{len(loaded.frame)} of {CASES} cases")
    outcome.lost = sum(line not in stored for line in kept)
    outcome.doubled = sum(count - 1 for count in stored.values())
    keys = Counter((line["worker"], line["order"], line["case"]) for line in map(json.loads, stored))
    outcome.doubled += sum(count - 1 for count in keys.values())
    if outcome.lost or outcome.doubled:
        outcome.wrong.append(f"{outcome.lost} lost, {outcome.doubled} doubled")


def _whole(run: Path) -> list[str]:
    """The faults of a run that has ended without an error."""
    info, summary = read_info(run), summarize(load(run))
    wrong = [] if info.status == "finished" else [f"status {info.status}"]
    missing = summary[(summary["status"] != "measured") | (summary["replicates"] < REPLICATES)]
    return wrong + [f"{row.case}: {row.status}, {row.replicates} replicates" for row in missing.itertuples()]


def workers(parent: Path, times: int, seed: int) -> Iterator[Outcome]:
    """Kill one worker of a run at a random moment; the run goes on without it."""
    folder = tiny(parent / "undisturbed")
    seconds = life_seconds(folder, "run", "tiny.toml")
    rng = random.Random(seed)
    for number, delay in enumerate(moments(times, seconds, seed)):
        folder = tiny(parent / f"run-{number}")
        note = folder / "witness"
        command = Command(folder, "run", "tiny.toml", "--allow-missing", witness=note)
        lives(command, delay)
        victim = _kill_a_worker(command, rng)
        stage, _ = witness.read(note)
        code, errors = command.end()
        outcome = Outcome("worker killed", stage if victim else "no worker there")
        if code != 0 or "Traceback" in errors:
            outcome.wrong.append(f"exit code {code}: {errors[-300:]}")
        else:
            kept = witness.read(note)[1]
            outcome.windows = len(kept)
            _compare(folder, kept, outcome)
            outcome.wrong += _goes_on(runs(folder)[0])
        outcome.wrong += command.orphans()
        yield outcome


def _kill_a_worker(command: Command, rng: random.Random) -> bool:
    """Kill a worker, if there is one now or soon, and return whether there was."""
    end = time.monotonic() + 2
    while command.process.poll() is None and time.monotonic() < end:
        try:
            alive = [process for process in command.workers() if str(STARTER) in process.cmdline()]
            if alive:
                rng.choice(alive).kill()
                return True
        except psutil.Error:
            continue
        time.sleep(0.005)
    return False


def _goes_on(run: Path) -> list[str]:
    """The faults of the run's end: at most one case may have failed, because of the lost worker."""
    summary = summarize(load(run))
    failed = summary[summary["status"] != "measured"]
    wrong = [f"{row.case}: {row.status}: {row.reason}" for row in failed.itertuples()]
    explained = failed["reason"].str.contains("killed by SIGKILL")
    return wrong if len(failed) > 1 or not explained.all() else []

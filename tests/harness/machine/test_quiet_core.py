"""The core of live calls: where pulses tell, which core is chosen, what is put back and kept."""

import os
from itertools import count
from pathlib import Path

import pytest

from rnnbench.harness import devices
from rnnbench.harness.live import loop
from rnnbench.harness.machine.pulse import Pulses
from rnnbench.harness.machine.quiet_core import LOOKING_SHARE, MAX_AGE_SECONDS, KeptPulse, QuietCore
from rnnbench.harness.worker.prepared_case import pulses_tell
from tests.doubles import workload as small

BEST = 5e-6
ALLOWED = {0, 1, 2}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """The sets of cores to which the thread was moved, of a machine whose core 1 is quiet; the last one counts."""
    moved: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: moved[-1] if moved else ALLOWED)
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: moved.append(set(cores)))
    return moved


def on(asked: list[set[int]], now: list[float] | None = None, kept: KeptPulse | None = None) -> QuietCore:
    pulses = Pulses(BEST, take=lambda: BEST if asked[-1] == {1} else 2 * BEST)
    clock = iter(now) if now else map(float, count())
    return QuietCore(pulses, [[0], [1], [2]], kept, now=lambda: next(clock))


def interrupted(core: QuietCore) -> None:
    with core.held():
        core.choose()
        raise KeyboardInterrupt


def test_calls_are_made_on_the_core_that_is_quiet_and_the_thread_is_put_back(asked: list[set[int]]) -> None:
    core = on(asked)
    with core.held():
        core.choose()
        assert asked[-1] == {1}
    assert asked[-1] == ALLOWED
    with pytest.raises(KeyboardInterrupt):
        interrupted(core)
    assert asked[-1] == ALLOWED


def test_it_looks_for_another_core_only_after_a_while(asked: list[set[int]]) -> None:
    seconds = 0.01  # of a look
    soon, later = 0.9 * seconds / LOOKING_SHARE, 1.1 * seconds / LOOKING_SHARE
    core = on(asked, [0.0, seconds, seconds + soon, seconds + later, 2 * seconds + later])
    core.choose()
    looks = len(asked)
    core.choose()
    assert len(asked) == looks
    core.choose()
    assert len(asked) == 2 * looks


def test_a_single_core_is_left_to_the_system(asked: list[set[int]]) -> None:
    core = QuietCore(Pulses(BEST), [[0]])
    with core.held():
        core.choose()
    assert asked == []


def test_the_best_pulse_is_kept_for_other_processes_and_known_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "private_folder", lambda: tmp_path)
    for taken, kept in ((2 * BEST, 2 * BEST), (BEST, BEST), (3 * BEST, BEST)):
        core = loop.quiet_core("cpu", 1)
        assert core is not None
        core.pulses.best = min(core.pulses.best, taken)
        with core.held():
            pass
        again = loop.quiet_core("cpu", 1)
        assert again is not None
        assert again.pulses.best == kept


def test_pulses_that_were_never_taken_are_not_kept(tmp_path: Path) -> None:
    kept = KeptPulse(tmp_path, "3.11.7")
    with QuietCore(Pulses(), kept_pulse=kept).held():
        pass
    assert kept.best_seconds() is None


@pytest.mark.parametrize(("device", "threads", "tell"), [("cpu", 1, True), ("cpu", 2, False), ("cuda:0", 1, False)])
def test_pulses_tell_of_live_calls_where_they_tell_of_a_workers(device: str, threads: int, tell: bool) -> None:
    assert devices.pulses_tell(device, threads) == tell
    assert pulses_tell(small.workload(device=device, threads=threads)) == tell
    assert (loop.quiet_core(device, threads) is not None) == tell


def kept(folder: Path | None, python: str = "3.11.7") -> KeptPulse:
    return KeptPulse(folder, python)


def test_the_best_pulse_is_known_to_the_next_run_of_the_same_python(tmp_path: Path) -> None:
    assert kept(tmp_path).best_seconds() is None
    for seconds in (5e-6, 4e-6, 6e-6):
        kept(tmp_path).keep(seconds)
    assert kept(tmp_path).best_seconds() == 4e-6
    assert kept(tmp_path, "3.12.1").best_seconds() is None


def test_an_old_pulse_counts_no_more(tmp_path: Path) -> None:
    kept(tmp_path).keep(4e-6)
    [file] = tmp_path.iterdir()
    os.utime(file, (0, file.stat().st_mtime - MAX_AGE_SECONDS - 60))
    assert kept(tmp_path).best_seconds() is None
    kept(tmp_path).keep(7e-6)
    assert kept(tmp_path).best_seconds() == 7e-6


@pytest.mark.parametrize("content", ["[]", '{"seconds": "quick"}', '{"seconds": -1}'])
def test_a_damaged_file_tells_nothing_and_is_written_anew(tmp_path: Path, content: str) -> None:
    kept(tmp_path).keep(4e-6)
    [file] = tmp_path.iterdir()
    file.write_text(content)
    assert kept(tmp_path).best_seconds() is None
    kept(tmp_path).keep(5e-6)
    assert kept(tmp_path).best_seconds() == 5e-6

"""The best pulse of a machine, from run to run."""

import os
from pathlib import Path

import pytest

from rnnbench.harness.machine.kept_pulse import MAX_AGE_SECONDS, KeptPulse


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

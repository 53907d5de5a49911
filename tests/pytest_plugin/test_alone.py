import fcntl
from pathlib import Path

import pytest

from rnnbench.pytest_plugin import alone


def is_free(file: Path) -> bool:
    """Whether another process could time a test now."""
    with file.open("rb") as another:
        try:
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is locked, which other tests of this run do not lock."""
    (tmp_path / "lock").touch()
    monkeypatch.setattr(alone, "__file__", str(tmp_path / "lock"))
    return tmp_path / "lock"


def test_under_xdist_one_process_times_at_a_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    with alone.timed_alone():
        assert not is_free(file)
    assert is_free(file)
    with pytest.raises(KeyError), alone.timed_alone():
        raise KeyError
    assert is_free(file)


def test_without_xdist_nothing_is_locked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    with alone.timed_alone():
        assert is_free(file)


def test_where_there_are_no_locks_a_test_is_timed_all_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    monkeypatch.setattr(fcntl, "flock", refuse)
    with alone.timed_alone():
        assert file.exists()

"""What a worker says of itself where the system hides its files."""

from pathlib import Path

import pytest

from rnnbench.harness.worker import hello


def test_a_system_that_hides_how_addresses_are_chosen_has_no_fixed_ones(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hello, "PERSONALITY", tmp_path / "missing")
    assert not hello.hello()["fixed_addresses"]
    monkeypatch.setattr(hello, "PERSONALITY", tmp_path)  # can't be read, as a file that the system refuses
    assert not hello.hello()["fixed_addresses"]
    (tmp_path / "personality").write_text("00040000\n")
    monkeypatch.setattr(hello, "PERSONALITY", tmp_path / "personality")
    assert hello.hello()["fixed_addresses"]

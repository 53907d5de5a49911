import json
import subprocess
from pathlib import Path

from rnnbench.harness.coordinator import environment
from rnnbench.harness.machine import cores
from rnnbench.harness.machine import git as repository


def test_the_environment_says_what_a_reader_needs_and_fits_into_json(tmp_path: Path) -> None:
    facts = environment.describe(tmp_path)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["machine"]["cpu"]
    assert facts["machine"]["cores_allowed"] == cores.allowed_cores()
    assert facts["software"]["packages"]["torch"]
    assert facts["git"] is None


def test_the_commit_is_named_and_a_change_to_it_is_seen(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "one")
    state = repository.state(tmp_path)
    assert state is not None
    assert len(state["commit"]) == 40
    assert not state["dirty"]
    (tmp_path / "file").write_text("two")
    changed = repository.state(tmp_path)
    assert changed is not None
    assert changed["dirty"]

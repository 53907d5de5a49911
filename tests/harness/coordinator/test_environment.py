import json
from pathlib import Path

from rnnbench.harness.coordinator import environment
from rnnbench.harness.machine import cores


def test_the_environment_says_what_a_reader_needs_and_fits_into_json(tmp_path: Path) -> None:
    facts = environment.describe(tmp_path)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["machine"]["cpu"]
    assert facts["machine"]["cores_allowed"] == cores.allowed_cores()
    assert facts["software"]["packages"]["torch"]
    assert facts["git"] is None

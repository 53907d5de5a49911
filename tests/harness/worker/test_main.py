import subprocess
import sys
import sysconfig
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rnnbench.harness.worker import __main__
from rnnbench.harness.worker.__main__ import import_path

STANDARD = [sysconfig.get_path("stdlib"), f"{sysconfig.get_path('platstdlib')}/lib-dynload"]


@given(
    st.lists(st.sampled_from([*STANDARD, "", "/site-packages", "/a", "/b"]), unique=True), st.lists(st.just("/mine"))
)
def test_the_standard_library_comes_first_and_nothing_is_lost(entries: list[str], first: list[str]) -> None:
    path = import_path(entries, first)
    standard = [entry for entry in entries if entry in STANDARD]
    assert path[: len(standard)] == standard
    assert path[len(standard) :][: len(set(first))] == list(dict.fromkeys(first))
    assert set(path) == {*entries, *first}


def test_python_starts_a_worker_without_importing_what_lies_beside_its_starter(tmp_path: Path) -> None:
    copy = tmp_path / "start_worker.py"
    copy.write_text(Path(__main__.__file__).read_text())
    (tmp_path / "json.py").write_text("raise SystemExit(9)\n")
    (tmp_path / "rnnbench" / "harness" / "worker").mkdir(parents=True)
    for folder in ("rnnbench", "rnnbench/harness", "rnnbench/harness/worker"):
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "rnnbench" / "harness" / "worker" / "loop.py").write_text("def main(word):\n    print(word)\n")
    command = [sys.executable, "-P", str(copy), f'{{"paths": ["{tmp_path}"], "options": {{"word": "well"}}}}']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("well\n", "")

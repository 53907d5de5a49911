"""Files that change while a check runs leave no verdict."""

import re
from pathlib import Path

import pytest

from rnnbench.check.sides import Side
from rnnbench.check.steady import SteadyFiles
from rnnbench.errors import UserError
from rnnbench.suite import suites
from tests.doubles import repository
from tests.doubles.commands import MINE, cells, rnnbench

SAVES_ITSELF = """
from pathlib import Path
beside = Path(__file__).with_name("beside.py")
beside.write_bytes(beside.read_bytes())
"""
ANOTHER_SAVES = """
import subprocess, sys
from pathlib import Path
beside = str(Path(__file__).with_name("beside.py"))
subprocess.run([sys.executable, "-c", f"open({beside!r}, 'a').write('# later')"], check=True)
import beside
"""


@pytest.fixture
def side(tmp_path: Path) -> Side:
    for name in ("used.py", "other.py"):
        (tmp_path / name).write_text("x = 1")
    return Side("head", "the head", suites.read_suite("quick"), tree=tmp_path)


def test_only_a_used_file_that_no_worker_wrote_is_refused(side: Side, tmp_path: Path) -> None:
    files = SteadyFiles([side])
    used = {"head": [str(tmp_path / "used.py")]}
    (tmp_path / "other.py").write_text("x = 22")
    files.refuse_changed(used, [])
    (tmp_path / "used.py").write_text("x = 22")
    files.refuse_changed(used, [str(tmp_path / "used.py")])
    with pytest.raises(UserError, match=r"head: .*used\.py changed while the check ran; there is no verdict"):
        files.refuse_changed(used, [])


@pytest.mark.parametrize(("top", "code"), [(ANOTHER_SAVES, 2), (SAVES_ITSELF, 0)])
def test_a_check_during_which_a_file_changes_ends_with_2_and_names_it(tmp_path: Path, top: str, code: int) -> None:
    repository.commit(tmp_path, {"mine.toml": MINE, "mine.py": f"{top}{cells()}", "beside.py": "x = 1"})
    (tmp_path / "README.md").write_text("more")
    (tmp_path / "beside.py").write_text("x = 2")
    done = rnnbench(
        "check", "mine.toml", "--base", "HEAD", "--budget", "8s", "--on-undecided", "pass", cwd=tmp_path, code=code
    )
    told = re.search(r"beside\.py changed while the check ran", done.stderr)
    assert bool(told) == (code == 2)

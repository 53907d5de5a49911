"""Names in files that become paths: none leads out of its folder."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rnnbench import load, suites
from rnnbench.cli import cli
from rnnbench.errors import UserError
from rnnbench.harness.coordinator.resume import read_state
from rnnbench.store import names
from rnnbench.store.folder import parts, read_info, read_profiles
from rnnbench.store.regular_files import within
from rnnbench.store.windows import read_windows
from tests.doubles import stored
from tests.doubles import workload as small
from tests.profiling.profiles import profile

LOOP, REFERENCE = small.case("vanilla"), small.reference_case()
ESCAPES = ("../../x", "/abs", "a/../../b", "a\0b", "..", "/dev/zero", "../x-1", "p0/../../0000", "x\n", "\ud800", "")


def folder(parent: Path) -> Path:
    """A run with all files that contain names."""
    path = stored.folder(parent, {LOOP: [[2.0]] * 2, REFERENCE: [[1.0]] * 2})
    for name, lines in {
        "profiles.jsonl": [profile(case=LOOP.key).to_json() | {"files": {"trace": "t.json.gz"}}],
    }.items():
        (path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def read(path: Path) -> None:
    """Read a whole run and make paths from its names as commands do."""
    read_info(path)
    load(path)
    read_profiles(path)
    read_state(path)
    parts(path)
    list(read_windows(path))


def changed(file: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Apply `change` to the first line of a run's file, or to the whole of `run.json`."""

    def apply(path: Path) -> None:
        text = (path / file).read_text()
        first, *rest = [text] if file == "run.json" else text.splitlines()
        content = json.loads(first)
        change(content)
        (path / file).write_text("\n".join([json.dumps(content), *rest]) + "\n")

    return apply


def put(*keys: str) -> Callable[[dict[str, Any], str], None]:
    def apply(content: dict[str, Any], name: str) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = name

    return apply


PLACES: dict[str, tuple[str, Callable[[dict[str, Any], str], None]]] = {
    "suite": ("run.json", put("suite")),
    "id": ("run.json", put("id")),
    "worker": ("windows-0000.jsonl", put("worker")),
    "run of a window": ("windows-0000.jsonl", put("run")),
    "trace": ("profiles.jsonl", put("files", "trace")),
}


@pytest.mark.parametrize("name", ESCAPES, ids=ascii)
@pytest.mark.parametrize("place", PLACES)
def test_a_name_in_a_file_that_leads_elsewhere_is_refused_with_its_place(tmp_path: Path, place: str, name: str) -> None:
    path = folder(tmp_path)
    read(path)
    file, change = PLACES[place]
    changed(file, lambda content: change(content, name))(path)
    if (place, name) == ("id", ""):  # valid in runs of older versions; then the windows have another run's id
        file = "windows-0000.jsonl"
    with pytest.raises(UserError, match=f"^{path / file}(, line 1)?: "):
        read(path)


def test_a_history_of_a_strangers_runs_writes_nothing_outside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cwd = tmp_path / "a" / "b" / "here"
    cwd.mkdir(parents=True)
    monkeypatch.chdir(cwd)
    for number in range(2):
        path = folder(cwd / "results")
        info = json.loads((path / "run.json").read_text()) | {"started": f"2026-01-0{number + 1}T00:00:00+00:00"}
        (path / "run.json").write_text(json.dumps(info | {"suite": "../../x"}))
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(cli, ["report", "--history"])
    assert isinstance(done.exception, UserError)
    assert "suite: expected letters, digits, '.', '_' and '-'" in str(done.exception)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_suite_of_a_run_is_what_a_suite_file_may_be_called(tmp_path: Path) -> None:
    for name in ("a", "A.b_c-9", *ESCAPES[:3], "", "..", ".hidden", "-x", "a b"):
        (tmp_path / "mine.toml").write_text(f'name = "{name}"\n[[sweep]]\ncell = "gru"\n')
        try:
            suites.read(str(tmp_path / "mine.toml"))
        except UserError:
            assert not names.is_suite(name), name
        else:
            assert names.is_suite(name), name


@pytest.mark.parametrize("name", ["measurements-../x.jsonl", "measurements-x.jsonl", "measurements-p0 (copy).jsonl"])
def test_a_file_that_is_named_like_a_part_and_is_none_is_refused(tmp_path: Path, name: str) -> None:
    path = folder(tmp_path)
    file = path / name.replace("/", "|")
    file.write_text((path / "measurements.jsonl").read_text())
    with pytest.raises(UserError, match="not written by rnnbench"):
        load(path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    path = folder(tmp_path)
    secret = tmp_path / "secret.txt"
    secret.write_text("f;aten::mm 10\n")
    (path / "stacks.txt").symlink_to(secret)
    (path / "below").symlink_to(tmp_path)
    assert within(path, "stacks.txt") is None
    assert within(path, "below/secret.txt") is None
    (path / "loop").symlink_to("loop")
    assert within(path, "loop") is None
    assert within(path, "run.json") == (path / "run.json").resolve()


@pytest.mark.parametrize("name", ESCAPES, ids=ascii)
def test_a_file_within_a_folder_is_none_for_a_name_that_leads_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert within(tmp_path / "a" / "b", name) is None
    os.mkfifo(tmp_path / "pipe")
    assert within(tmp_path, "pipe") is None

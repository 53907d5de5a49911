"""Which files are packaging, what they require, and what is told of a change."""

import sys
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import pytest

from rnnbench.check.requirements import compared, is_packaging, required


@pytest.mark.parametrize(
    "file",
    [
        *("pyproject.toml", "setup.cfg", "MANIFEST.in", "tox.ini", "requirements.txt", "requirements-dev.txt"),
        *("docker/Dockerfile", "Dockerfile.gpu", "environment.yml", "conda/meta.yaml", "requirements/test.txt"),
        *(".travis.yml", "poetry.lock", "docs_requirements.txt"),
    ],
)
def test_packaging_files_are_known_by_their_names(file: str) -> None:
    assert is_packaging(PurePosixPath(file))


@pytest.mark.parametrize("file", ["setup.py", "config.toml", "table.txt", "src/conda.py", "data/settings.yml"])
def test_other_files_are_no_packaging(file: str) -> None:
    assert not is_packaging(PurePosixPath(file))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "requirements.txt",
            "# about\n\ntorch>=2.8  # new\n-r other.txt\nNumPy==1.26 \\\n --hash=1\nhttps://a.b/c.whl\n",
            {"torch": "torch>=2.8", "numpy": "NumPy==1.26"},
        ),
        (
            "pyproject.toml",
            '[project]\ndependencies = ["torch>=2.8"]\n[project.optional-dependencies]\ndev = ["pytest<9"]\n',
            {"torch": "torch>=2.8", "pytest": "pytest<9"},
        ),
        (
            "setup.cfg",
            "[options]\ninstall_requires =\n    torch>=2.8\n    numpy\n",
            {"torch": "torch>=2.8", "numpy": "numpy"},
        ),
        (
            "environment.yml",
            "channels:\n  - pytorch\ndependencies:\n  - torch=2.8  # new\n  - numpy>=1.26\n",
            {"pytorch": "pytorch", "torch": "torch==2.8.*", "numpy": "numpy>=1.26"},
        ),
        ("pyproject.toml", "[project", {}),
        ("setup.cfg", "no section", {}),
        ("Dockerfile", "RUN pip install torch", {}),
    ],
)
def test_requirements_are_read_by_the_kind_of_the_file(
    tmp_path: Path, name: str, text: str, expected: dict[str, str]
) -> None:
    (tmp_path / name).write_text(text)
    assert required(tmp_path / name) == expected
    assert required(tmp_path / "missing.txt") == {}


def sides(folder: Path, name: str, base: str, head: str) -> tuple[Path, Path]:
    for side, text in (("base", base), ("head", head)):
        (folder / side).mkdir()
        (folder / side / name).write_text(text)
    return folder / "base", folder / "head"


def test_a_requirement_that_changed_is_told_with_what_is_installed(tmp_path: Path) -> None:
    folders = sides(tmp_path, "requirements.txt", "torch>=2.5\nnothing_of_this_name==1\n", "torch>=2.6\n")
    (folders[0] / "setup.cfg").write_text("[metadata]")
    found = compared(*folders, ["requirements.txt", "setup.cfg"], sys.executable)
    assert found.notes == (
        "requirements.txt changed: nothing_of_this_name==1 -> no nothing-of-this-name; nothing-of-this-name is not "
        "installed",
        f"requirements.txt changed: torch>=2.5 -> torch>=2.6; both sides run with torch {version('torch')}, which is "
        "installed",
        "setup.cfg changed: packaging, which no case runs",
    )
    assert not found.doubt


@pytest.mark.parametrize(("base", "head"), [("torch<1", "torch>=2.6"), ("torch>=2.6", "torch<1"), ("", "torch<1")])
def test_a_requirement_that_the_installed_version_does_not_meet_is_a_doubt(
    tmp_path: Path, base: str, head: str
) -> None:
    before, after = sides(tmp_path, "requirements.txt", base, head)
    found = compared(before, after, ["requirements.txt"], sys.executable)
    assert found.doubt == f"requirements.txt asks for torch<1, but torch {version('torch')} is installed"

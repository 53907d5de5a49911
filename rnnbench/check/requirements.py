"""Packaging files: which ones there are, and what they require of installed packages.

Both sides run in one environment, so that another requirement changes nothing. It is told, and it is a doubt if what is
installed is not what one of the sides asks for.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from configparser import ConfigParser, Error
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

PACKAGING_NAMES = {
    *("pyproject.toml", "setup.cfg", "MANIFEST.in", "tox.ini", "pytest.ini", "mypy.ini", "poetry.lock", "uv.lock"),
    *("Pipfile", "Pipfile.lock", "pixi.toml", "pixi.lock", ".dockerignore", ".travis.yml", ".gitlab-ci.yml"),
    *(".pre-commit-config.yaml", ".readthedocs.yml", ".readthedocs.yaml", ".coveragerc", ".flake8", ".pylintrc"),
    *("codecov.yml", ".codecov.yml", ".editorconfig", ".gitattributes", "meta.yaml", "ruff.toml"),
}
FILES = ("requirements*.txt", "requirements/*.txt", "*requirements.txt", "constraints*.txt", "Dockerfile*")
CONDA = ("environment*.yml", "environment*.yaml", "conda*.yml", "conda*.yaml")
PATTERNS = (*FILES, *CONDA, "*.dockerfile", "docker-compose*.yml", "docker-compose*.yaml")
CONDA_LINE = re.compile(r"^\s*-\s*([A-Za-z][\w.-]*)\s*([<>=!~][^#\s]*)?\s*(?:#.*)?$")


CONDA_EQUALS = re.compile("^=([^=].*)$")


@dataclass(frozen=True)
class Requirements:
    """The changed packaging files of a check: what to tell, and what makes all cases doubtful; either may be empty."""

    notes: tuple[str, ...] = ()
    doubt: str = ""


def is_packaging(path: PurePosixPath) -> bool:
    """Return True if a file installs a package, or checks its code, and is not read by the code itself."""
    return path.name in PACKAGING_NAMES or any(path.match(pattern) for pattern in PATTERNS)


def compared(base: Path, head: Path, files: Iterable[str], python: str) -> Requirements:
    """Compare the requirements of both sides' packaging files with each other, and with what is installed.

    `python`: the interpreter of both sides.
    """
    notes = list[str]()
    silent = list[str]()
    doubt = ""
    for file in sorted(files):
        before = required(base / file)
        after = required(head / file)
        names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        if not names:
            silent.append(file)
        for name in names:
            pins = [side.get(name, "") for side in (before, after)]
            installed = _installed(name, python)
            runs = f"{name} is not installed"
            if installed:
                runs = f"both sides run with {name} {installed}, which is installed"
            notes.append(f"{file} changed: {pins[0] or f'no {name}'} -> {pins[1] or f'no {name}'}; {runs}")
            if installed and (wrong := next((pin for pin in pins if not _allows(pin, installed)), "")):
                doubt = doubt or f"{file} asks for {wrong}, but {name} {installed} is installed"
    if silent:
        notes.append(f"{', '.join(silent)} changed: packaging, which no case runs")
    return Requirements(tuple(notes), doubt)


def required(file: Path) -> Mapping[str, str]:
    """Return the requirements of a packaging file by package; empty if nothing can be read from it."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
        lines = [*_lines(file, text)]
    except (OSError, tomllib.TOMLDecodeError, Error, AttributeError, TypeError):  # missing on one side, or not readable
        return {}
    versions: dict[str, str] = {}
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        versions.setdefault(canonicalize_name(requirement.name), str(requirement))
    return versions


def _lines(file: Path, text: str) -> Iterator[str]:
    """Yield the requirements of a packaging file, as texts."""
    if file.name == "pyproject.toml":
        project = tomllib.loads(text).get("project", {})
        yield from project.get("dependencies", ())
        yield from (each for group in project.get("optional-dependencies", {}).values() for each in group)
    elif file.name == "setup.cfg":
        parser = ConfigParser(interpolation=None)
        parser.read_string(text)
        yield from parser.get("options", "install_requires", fallback="").splitlines()
    elif any(PurePosixPath(file.name).match(pattern) for pattern in CONDA):
        matches = (CONDA_LINE.match(line) for line in text.splitlines())
        # One `=` of conda means any version that begins so.
        yield from (each[1] + CONDA_EQUALS.sub(r"==\1.*", each[2] or "") for each in matches if each)
    elif file.suffix == ".txt":
        yield from (re.sub(r"(^|\s)#.*$|\s*\\$|\s--hash.*$", "", line).strip() for line in text.splitlines())


def _installed(name: str, python: str) -> str:
    """Return the installed version of a package; empty if there is none."""
    if python == sys.executable:
        try:
            return version(name)
        except PackageNotFoundError:
            return ""
    program = f"from importlib.metadata import version; print(version({name!r}))"
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=False).stdout.strip()


def _allows(pin: str, installed: str) -> bool:
    return not pin or Requirement(pin).specifier.contains(installed, prereleases=True)

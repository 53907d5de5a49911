"""Git repositories made for tests."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doubles.once import DONE, made_once


def git(folder: Path, *arguments: str) -> str:
    """Run git as a fixed user, without the machine's own settings."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, files: dict[str, str], message: str = "change") -> str:
    """Write files, commit them and return the new commit. Make the repository if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main", "--template=")
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def copied(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object], folder: Path) -> Path:
    """Copy what `make` has put into a folder, once in the whole test run, into another folder, and return that."""
    made = made_once(factory, f"repository-{name}", make)
    return Path(shutil.copytree(made, folder, symlinks=True, ignore=shutil.ignore_patterns(DONE)))


def executable(file: Path, text: str) -> Path:
    """Write an executable shell script."""
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def add_submodule(folder: Path, source: Path, path: str) -> None:
    """Add another repository as a submodule, checked out and committed."""
    git(folder, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(source), path)
    git(folder, "commit", "--quiet", "-m", f"submodule {path}")

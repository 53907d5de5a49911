"""Where suites are: rnnbench's own, and those that a bare name finds; and what their files hold."""

import tomllib
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.text import nearest

INSTALLED_SUITES = Path(__file__).parents[1] / "shipped_suites"
# Of rnnbench's own suites: in the repository they are not in the package.
SHIPPED_FOLDER = INSTALLED_SUITES if INSTALLED_SUITES.is_dir() else INSTALLED_SUITES.parents[1] / "suites"
ACCEPTED = "accepted.toml"  # a file beside suites that is none: the regressions that a team has accepted
MAX_SUITE_NAME = 200  # letters of a suite's; the folders of its checks and reports have longer ones, of 255 at most


def shipped() -> dict[str, Path]:
    """Return the suites that a bare name finds: those in `suites/` of the current folder, then rnnbench's own."""
    folders = [SHIPPED_FOLDER, Path("suites")]  # the later one wins
    files = [path for folder in folders for path in sorted(folder.glob("*.toml"))]
    return {path.stem: path for path in files if path.name != ACCEPTED}


def hidden_by(name: str, file: Path) -> Path | None:
    """Return the suite of rnnbench that a file of the current folder hides by having the same bare name, or None."""
    shipped_file = SHIPPED_FOLDER / f"{name}.toml"
    return shipped_file if shipped_file.is_file() and not (file.exists() and shipped_file.samefile(file)) else None


def is_shipped(file: Path) -> bool:
    """Return whether a suite is one of rnnbench's own."""
    return file.resolve().parent == SHIPPED_FOLDER.resolve()


def find(name: str) -> Path:
    """Return the file of a suite, given as a path or by the bare name of one of `shipped()`."""
    path = Path(name)
    if path.suffix == ".py":
        raise UserError(f"{name}: a Python file is no suite; expected {name}:CELL, or the file of a suite, NAME.toml")
    if path.suffix == ".toml" or len(path.parts) > 1:
        if path.exists():  # also a folder: reading it gives the better message
            return path
        raise UserError(f"no suite file {name}; expected a file, or a name that `rnnbench list suites` shows")
    suites = shipped()
    if name not in suites:
        names = ", ".join(sorted(suites))
        raise UserError(
            f"no suite {name!r}{nearest(name, suites)}; expected one of {names}, or a file that ends in .toml"
        )
    return suites[name]


def content_of(file: Path) -> dict[str, Any]:
    """Return what a suite's file holds; raises UserError if it is not TOML."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: nested too deep
        raise UserError(f"{file}: can't be read as TOML: {getattr(error, 'strerror', error)}") from None

"""Where a user's modules are imported from."""

from pathlib import Path

PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


def nearest_project(folder: Path, top: Path | None = None) -> Path:
    """Return the nearest folder from `folder` up to `top` with a `pyproject.toml` or the like.

    If none has one, this is `top`, or else the folder itself.
    """
    folder = folder.resolve()
    highest = Path("/") if top is None else top.resolve()
    within = [place for place in (folder, *folder.parents) if place.is_relative_to(highest)]
    return next((place for place in within if any((place / name).is_file() for name in PROJECT_FILES)), top or folder)


def module_folders(*places: Path) -> list[Path]:
    """Return the folders that modules are imported from: each place, after its `src/` if it has one."""
    return [folder for place in dict.fromkeys(places) for folder in (place / "src", place) if folder.is_dir()]


def folders_here() -> list[Path]:
    """Return the folders of modules that a command finds without an installation: the current one and its project's."""
    return module_folders(Path.cwd(), nearest_project(Path.cwd()))

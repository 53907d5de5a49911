"""Whether the files of both sides stay as they are while a check runs: else no verdict would be of one commit."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rnnbench.check.sides import Side
from rnnbench.errors import UserError


class SteadyFiles:
    """The files of both sides as they were before any worker was started."""

    def __init__(self, sides: Iterable[Side]) -> None:
        self._versions: dict[Path, list[int]] = {}
        for side in sides:
            files = [Path(str(side.tree), name) for name in side.files]
            self._versions |= {file: _version(file) for file in files}

    def refuse_changed(self, files_of_sides: Mapping[str, Iterable[str]], written: Iterable[str]) -> None:
        """Raise UserError if a file that workers used has changed since, unless one of them has `written` it.

        `files_of_sides`: the used files, absolute paths by the name of a side.
        """
        by_workers = {Path(file).resolve() for file in written}
        for side, files in files_of_sides.items():
            for file in {Path(name).resolve() for name in files} - by_workers:
                if file in self._versions and _version(file) != self._versions[file]:
                    raise UserError(f"{side}: {file} changed while the check ran; there is no verdict: check again")


def _version(file: Path) -> list[int]:
    """Return when a file was written and its bytes; an empty list if it is not there."""
    return [file.stat().st_mtime_ns, file.stat().st_size] if file.exists() else []

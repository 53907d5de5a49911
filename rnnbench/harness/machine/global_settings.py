"""Values that hold for a whole process: how each is read and set, and how those that a case changed are put back."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """How to read and set one value of global state. If setting it has no effect, the case that changed it fails."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]


class NotRestoredError(Exception):
    """A case has changed global state that can't be put back; the message names it."""


def attribute(holder: Any, name: str) -> Setting:
    """The setting that an attribute of an object or a module holds."""
    return Setting(lambda: getattr(holder, name), lambda value: setattr(holder, name, value))


def read(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """The value of each setting that can be read, by its name."""
    state = {}
    for name, (read_one, _) in settings.items():
        with suppress(RuntimeError):  # TF32 by its old names, after it was set by torch's newer one (`fp32_precision`)
            state[name] = read_one()
    return state


def put_back(settings: Mapping[str, Setting], wanted: Mapping[str, Any]) -> None:
    """Set the settings that differ, and no others, since setting some costs time. Raises NotRestoredError."""
    for name, value in wanted.items():
        read_one, write = settings[name]
        if _is(read_one, value):
            continue
        try:
            write(value)
        except Exception as error:  # torch, or a mode that the case left on, refuses
            raise NotRestoredError(name) from error
        if not _is(read_one, value):
            raise NotRestoredError(name)


def _is(read_one: Callable[[], Any], value: Any) -> bool:
    try:
        return bool(read_one() == value)
    except RuntimeError:  # TF32 by its old names, while torch's newer ones say something else
        return False

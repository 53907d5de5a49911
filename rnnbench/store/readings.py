"""What instruments say: values by name, and for each that can't be had the reason. Never a zero in its place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


class Unavailable(Exception):
    """A value can't be had here, for the reason given in a clause."""


@dataclass(frozen=True)
class Readings:
    """Values by name; `missing` has the reason for each that could not be read."""

    values: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, instruments: Mapping[str, Callable[[], Any]]) -> Self:
        """Read each instrument; one that raises Unavailable is missing, with its reason."""
        readings = cls()
        for name, read in instruments.items():
            try:
                readings.values[name] = read()
            except Unavailable as reason:
                readings.missing[name] = str(reason)
        return readings

    def __or__(self, other: Self) -> Self:
        """Both, the other's where a name is in both."""
        return type(self)(self.values | other.values, self.missing | other.missing)

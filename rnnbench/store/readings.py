"""Readings of instruments: values by name, and a reason for each that is not available, never a zero instead."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


class Unavailable(Exception):
    """A value is not available here; the message gives the reason as a clause."""


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
        """The readings of both; the other's count where a name is in both."""
        return type(self)(self.values | other.values, self.missing | other.missing)

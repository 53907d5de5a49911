"""What an error says, for golden files."""

from collections.abc import Callable

import pytest


def told(call: Callable[[], object], kind: type[Exception] = ValueError) -> str:
    """Return the message of the error that a call raises."""
    with pytest.raises(kind) as raised:
        call()
    return str(raised.value)

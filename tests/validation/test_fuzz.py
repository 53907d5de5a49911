"""A small part of `python -m tests.validation fuzz`: any file is either read or refused with a message."""

import pytest

from tests.validation.fuzz import TARGETS, try_inputs


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_what_strangers_give_is_read_or_refused_in_words(name: str) -> None:
    done = try_inputs(name, 150 if name in ("suite files", "--only expressions") else 40, 0)
    assert done["faults"] == {}
    assert done["tried"] > 30
    assert min(done["read"], done["refused in words"]) > 0

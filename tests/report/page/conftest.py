from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.doubles.browser import started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser

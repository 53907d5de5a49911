"""A fixture of this folder."""

import pytest

from rnnbench.kernels import direct


@pytest.fixture(scope="session")
def own_products() -> None:
    """Build rnnbench's own products, or skip the test; a process that only collects tests does not build them."""
    if not direct.available():
        pytest.skip("this machine can't build rnnbench's own products")

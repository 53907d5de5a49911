import pytest

from tests.doubles.fake_nvml import Driver


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A fake NVIDIA driver that is installed."""
    return Driver().install(monkeypatch)

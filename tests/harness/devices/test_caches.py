"""The last-level cache as the system describes it, and the block that fills it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rnnbench.harness.devices import Cpu, caches


def system(root: Path, *shared: str) -> Path:
    """A folder like the kernel's: each core has its own first level and shares the third as the test sets."""
    for core, group in enumerate(shared):
        for index, (level, size, cores) in enumerate([(1, "32K", f"{core}"), (3, "16384K", group)]):
            folder = root / f"cpu{core}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            for name, content in (("level", level), ("size", size), ("shared_cpu_list", cores)):
                (folder / name).write_text(f"{content}\n")
    return root


@pytest.mark.parametrize(
    ("cores", "bytes_"), [((0,), 16 << 20), ((0, 1), 16 << 20), ((1, 2), 32 << 20), ((0, 1, 2), 32 << 20), ((7,), 0)]
)
def test_a_last_level_that_cores_share_counts_once(tmp_path: Path, cores: tuple[int, ...], bytes_: int) -> None:
    assert caches.last_level_bytes(cores, system(tmp_path, "0-1", "0-1", "2-3")) == bytes_


@pytest.mark.parametrize("name", ["size", "shared_cpu_list"])
def test_a_last_level_that_the_system_does_not_describe_is_not_known(tmp_path: Path, name: str) -> None:
    (system(tmp_path, "0-1", "0-1") / "cpu0" / "cache" / "index1" / name).unlink()
    assert caches.last_level_bytes((0, 1), tmp_path) == 0


@pytest.mark.parametrize("name", ["level", "size"])
def test_an_empty_file_about_a_cache_tells_nothing(tmp_path: Path, name: str) -> None:
    (system(tmp_path, "0-1", "0-1") / "cpu0" / "cache" / "index1" / name).write_text("")
    assert caches.last_level_bytes((0, 1), tmp_path) == 0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(caches, "last_level_bytes", lambda cores: 1 << 20)
    caches._block.cache_clear()
    yield
    caches._block.cache_clear()


def test_a_flush_works_in_every_mode_and_touches_more_than_the_cache_holds(small: None) -> None:
    for mode in (torch.inference_mode, torch.no_grad, torch.enable_grad):
        with mode():
            caches.flush()
    block = caches._block(int(1.5 * (1 << 20)))
    assert block.nbytes == 1.5 * (1 << 20)
    assert set(block.tolist()) == {3}


def test_the_processor_flushes_before_every_call(small: None) -> None:
    block, seen = caches._block(int(1.5 * (1 << 20))), []
    clocked = Cpu().clock_cold(lambda: seen.append(int(block[0])), calls=4)
    assert seen == [1, 2, 3, 4, 5]
    assert clocked.seconds == pytest.approx(sum(clocked.batch_seconds))

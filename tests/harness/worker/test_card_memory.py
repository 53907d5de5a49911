"""GPU memory that a worker holds from case to case, on a fake card. Garbage collection is off, as in a worker."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from rnnbench.store.records import Case
from tests.doubles import workload as small
from tests.doubles.fake_card import MEGABYTE, FakeCard
from tests.doubles.visits import operations
from tests.harness.worker.test_operations import observe, prepare

POOL = 1000 * MEGABYTE


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCard]:
    fake = FakeCard(POOL)
    fake.install(monkeypatch)
    gc.collect()
    gc.disable()
    yield fake
    gc.enable()
    gc.unfreeze()
    gc.collect()


def graphed(hidden_size: int = 6, **changes: Any) -> Case:
    return small.case("gru", "cudagraph", hidden_size=hidden_size, **changes)


def test_recordings_of_twenty_observed_cases_are_freed_each_before_the_next(card: FakeCard) -> None:
    worker = operations()
    for size in range(1, 21):
        reply = observe(worker, graphed(size, phase="training"))
        assert reply["ok"], reply
        assert card.reserved() == 0
    assert card.recordings == 20


def test_a_case_that_fails_leaves_nothing_either(card: FakeCard, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such probe")

    monkeypatch.setattr("rnnbench.harness.worker.operations.observe", lambda built, of_device: broken(built.runner()))
    reply = observe(operations(), graphed())
    assert not reply["ok"]
    assert card.recordings == 1
    assert card.reserved() == 0


def test_prepared_cases_keep_their_recordings_until_the_group_is_released(card: FakeCard) -> None:
    worker = operations()
    for _ in range(5):
        for size in (1, 2, 3):
            assert prepare(worker, graphed(size), call_seconds=1e-3)["ok"]
        assert card.reserved() >= 3 * POOL
        assert worker.handle({"op": "release"})["ok"]
        assert card.reserved() == 0


def test_the_memory_of_a_recorded_case_is_its_pool(card: FakeCard) -> None:
    measurement = observe(operations(), graphed())["measurement"]
    assert card.recordings == 1  # however often it was called
    assert measurement["reserved_bytes"] == POOL
    eager = observe(operations(), small.case("gru"))["measurement"]
    assert eager["reserved_bytes"] == 0

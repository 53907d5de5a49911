"""How groups are distributed to cards, and cards to stages."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.harness.coordinator import lanes
from rnnbench.harness.coordinator.lanes import Lane, Stopped, plan_lanes, together
from rnnbench.harness.devices import Card
from rnnbench.store.records import Group
from tests.doubles import workload as small


def group(**axes: Any) -> Group:
    return Group(small.workload(**axes), (small.case("vanilla", **axes), small.reference_case(**axes)))


def reply(*cards: tuple[str, str | None]) -> dict[str, Any]:
    return {"cards": [{"name": name, "uuid": uuid, "variables": {}} for name, uuid in cards]}


CPU = reply(("", None))
lengths = st.lists(st.integers(1, 1000), min_size=1, max_size=30, unique=True)


@pytest.fixture(autouse=True)
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "cores_apart", lambda threads: [(core,) for core in range(8, 8 - 4, -1)])


@given(lengths, st.integers(1, 4))
def test_every_group_has_one_lane_and_no_lane_has_much_more_to_do_than_another(steps: list[int], cards: int) -> None:
    groups = [group(device="cuda", seq_len=length) for length in steps]
    stages, _ = plan_lanes(groups, {"cuda": reply(*(("H100", str(card)) for card in range(cards)))}, {})
    all_lanes = [lane for stage in stages for lane in stage]
    assert sorted(groups.index(member) for lane in all_lanes for member in lane.groups) == list(range(len(groups)))
    work = sorted(sum(member.workload.seq_len for member in lane.groups) for lane in all_lanes)
    assert len(all_lanes) == min(cards, len(groups))
    assert work[-1] - work[0] <= max(steps)
    assert len({lane.card.uuid for lane in all_lanes}) == len(all_lanes)


@given(lengths, st.data())
def test_a_group_that_has_a_home_goes_there(steps: list[int], data: st.DataObject) -> None:
    groups = [group(device="cuda", seq_len=length) for length in steps]
    previous_cards = {
        member.workload: data.draw(st.sampled_from("abc")) for member in groups if data.draw(st.booleans())
    }
    stages, _ = plan_lanes(groups, {"cuda": reply(("H100", "a"), ("H100", "b"), ("H100", "c"))}, previous_cards)
    at = {member.workload: lane.card.uuid for stage in stages for lane in stage for member in lane.groups}
    assert {workload: at[workload] for workload in previous_cards} == previous_cards


def stages_of(groups: list[Group], devices: dict[str, Any]) -> list[list[tuple[str, str | None, tuple[int, ...]]]]:
    stages, _ = plan_lanes(groups, devices, {})
    return [[(lane.device, lane.card.uuid, lane.own_cores) for lane in stage] for stage in stages]


def test_cards_share_a_stage_and_the_processor_has_one_of_its_own() -> None:
    groups = [group(device="cpu"), *(group(device="cuda", seq_len=length) for length in (1, 2))]
    assert stages_of(groups, {"cpu": CPU, "cuda": reply(("H100", "a"), ("H100", "b"))}) == [
        [("cpu", None, ())],
        [("cuda", "a", (8,)), ("cuda", "b", (7,))],
    ]


def test_a_single_card_is_pinned_like_the_processor() -> None:
    assert stages_of([group(device="cuda")], {"cuda": reply(("H100", "a"))}) == [[("cuda", "a", ())]]
    [[lane]], notes = plan_lanes([group(device="cuda")], {"cuda": reply(("H100", "a"))}, {})
    assert (lane.name, notes) == ("cuda", [])


def test_two_names_of_one_card_never_share_a_stage_and_two_numbered_cards_do() -> None:
    groups = [group(device="cuda"), group(device="cuda:0"), group(device="cuda:1")]
    devices = {"cuda": reply(("H100", "a")), "cuda:0": reply(("H100", "a")), "cuda:1": reply(("H100", "b"))}
    assert stages_of(groups, devices) == [
        [("cuda", "a", (8,)), ("cuda:1", "b", (7,))],
        [("cuda:0", "a", ())],
    ]


def test_a_device_that_can_not_be_used_still_has_a_lane_so_that_its_cases_are_skipped() -> None:
    assert stages_of([group(device="tpu")], {"tpu": reply(("", None))}) == [[("tpu", None, ())]]


def test_lanes_that_only_observe_may_be_beside_the_processor_but_not_beside_their_own_card() -> None:
    groups = [group(device="cpu"), group(device="cuda"), group(device="cuda:0")]
    stages, _ = plan_lanes(groups, {"cpu": CPU, "cuda": reply(("H100", "a")), "cuda:0": reply(("H100", "a"))}, {})
    waves = lanes.waves([lane for stage in stages for lane in stage])
    assert [[lane.device for lane in wave] for wave in waves] == [["cpu", "cuda"], ["cuda:0"]]


def test_a_lane_is_pinned_to_as_many_of_its_cores_as_the_case_has_threads() -> None:
    lane = Lane("cuda", Card(), (), own_cores=(4, 5, 6))
    assert [lane.cores(threads) for threads in (1, 2, 3)] == [[6], [5, 6], [4, 5, 6]]


class Lost(Exception):
    pass


def raising(fault: BaseException) -> Callable[[], None]:
    def job() -> None:
        raise fault

    return job


def test_the_fault_of_one_job_ends_the_others_and_is_the_one_that_is_told() -> None:
    stop = threading.Event()

    def waits() -> None:
        assert stop.wait(20)
        raise Stopped

    with pytest.raises(Lost):
        together([waits, raising(Lost()), waits], stop.set)
    assert stop.is_set()


def test_jobs_that_end_well_are_not_stopped_and_a_single_one_stays_in_this_thread() -> None:
    names: list[str] = []
    together([lambda: names.append(threading.current_thread().name)], lambda: names.append("stopped"))
    assert names == [threading.current_thread().name]
    together([lambda: names.append("a"), lambda: names.append("b")], lambda: names.append("stopped"))
    assert sorted(names[1:]) == ["a", "b"]


def test_an_interrupt_while_jobs_are_begun_ends_those_that_have_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, submit = threading.Event(), ThreadPoolExecutor.submit

    def waits() -> None:
        assert stop.wait(20)

    def last(pool: ThreadPoolExecutor, job: Callable[[], None]) -> Any:
        if job is not waits:
            raise KeyboardInterrupt
        return submit(pool, job)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", last)
    with pytest.raises(KeyboardInterrupt):
        together([waits, raising(Lost())], stop.set)
    assert stop.is_set()

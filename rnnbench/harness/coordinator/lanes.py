"""Which groups are measured on which card, and which cards are at work at the same time."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rnnbench.errors import UserError
from rnnbench.harness.coordinator.process import WorkerProcess
from rnnbench.harness.devices import Card
from rnnbench.harness.machine.cores import allowed_cores, cores_apart, measuring_cores
from rnnbench.store.records import Group, Workload
from rnnbench.text import plural


@dataclass(frozen=True)
class Lane:
    """Groups that are measured on one card, by one worker at a time."""

    device: str
    card: Card
    groups: tuple[Group, ...]
    is_one_of_several: bool = False  # whether the groups of its device are spread over cards
    own_cores: tuple[int, ...] = ()  # if other lanes are at work at the same time

    @property
    def name(self) -> str:
        """For notes: the device, and the card if there are several."""
        return f"{self.device} {self.card.uuid}" if self.is_one_of_several else self.device

    def cores(self, number: int) -> list[int]:
        """The cores that a worker of this lane is pinned to."""
        return list(self.own_cores[-number:]) or measuring_cores(number)


class Stopped(Exception):
    """A lane was ended because another one failed or the user stopped the run."""


def together(jobs: Sequence[Callable[[], None]], stop: Callable[[], None]) -> None:
    """Run all jobs at the same time (a single one in this thread), and raise what one of them raises.

    `stop` makes unfinished jobs raise `Stopped` soon. Passes KeyboardInterrupt on, once no job is left.
    """
    if len(jobs) == 1:
        jobs[0]()
        return
    with ThreadPoolExecutor(len(jobs)) as pool:
        running: list[Future[None]] = []
        try:
            running.extend(pool.submit(job) for job in jobs)
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            if len(running) < len(jobs) or not all(future.done() for future in running):
                stop()
    faults = [fault for future in running if (fault := future.exception()) is not None]
    for fault in sorted(faults, key=lambda fault: isinstance(fault, Stopped)):
        raise fault


def plan_lanes(
    groups: Sequence[Group], told: Mapping[str, Mapping[str, Any]], previous_cards: Mapping[Workload, str]
) -> tuple[list[list[Lane]], list[str]]:
    """Plan the stages of a run; returns them, and notes for the reader of the run.

    Stages run one after another, the lanes of a stage at the same time. `told` is a worker's reply about each device,
    `previous_cards` the UUIDs of the cards on which groups were measured before. Raises UserError if one of these cards
    is missing now.
    """
    on_cards = [group.workload for group in groups if told[group.workload.device]["cards"][0]["uuid"]]
    cores = len(allowed_cores())
    possible = (workload.cores for workload in on_cards if workload.cores <= cores)  # others will be skipped
    core_sets = cores_apart(max(possible, default=1))
    lanes: list[Lane] = []
    notes: list[str] = []
    for device, reply in told.items():
        device_groups = [group for group in groups if group.workload.device == device]
        cards = _alike(device, [Card(**fields) for fields in reply["cards"]], notes)
        if len(cards) > max(1, len(core_sets)):
            notes.append(
                f"{device}: {max(1, len(core_sets))} of {len(cards)} are used, since each needs cores of its own"
            )
            cards = cards[: max(1, len(core_sets))]
        lanes += _spread(device, device_groups, cards, previous_cards)
    spread = [lane for lane in lanes if lane.is_one_of_several]
    notes += [
        f"{lane.name} ({lane.card.name}): {len(lane.groups)} of {plural(len(groups), 'group')}" for lane in spread
    ]
    return [_with_own_cores(stage, core_sets) for stage in _stages(lanes, len(core_sets))], notes


def on_card(lane: Lane, start_worker: Callable[..., WorkerProcess]) -> Callable[[str], WorkerProcess]:
    """A function that starts workers which see only the lane's card, if the machine has others."""
    variables = lane.card.variables
    return partial(start_worker, variables=variables) if variables else start_worker


def waves(lanes: Sequence[Lane]) -> list[list[Lane]]:
    """Split lanes into waves that observe at the same time; lanes of one card are in different waves."""
    lane_waves: list[list[Lane]] = []
    for lane in lanes:
        free = [wave for wave in lane_waves if lane.card.uuid is None or not _holds(wave, lane.card)]
        if free:
            free[0].append(lane)
        else:
            lane_waves.append([lane])
    return lane_waves


def _stages(lanes: Sequence[Lane], most: int) -> list[list[Lane]]:
    """Split lanes into stages: up to `most` lanes with a card of their own are timed together, all others alone."""
    stages: list[list[Lane]] = []
    for lane in lanes:
        free = [
            stage
            for stage in stages
            if lane.card.uuid and stage[0].card.uuid and len(stage) < most and not _holds(stage, lane.card)
        ]
        if free:
            free[0].append(lane)
        else:
            stages.append([lane])
    return stages


def _holds(lanes: Sequence[Lane], card: Card) -> bool:
    return any(lane.card.uuid == card.uuid for lane in lanes)


def _with_own_cores(stage: list[Lane], core_sets: Sequence[tuple[int, ...]]) -> list[Lane]:
    """The lanes, each with cores of its own unless there is only one lane."""
    if len(stage) == 1:
        return stage
    return [replace(lane, own_cores=cores) for lane, cores in zip(stage, core_sets[: len(stage)], strict=True)]


def _alike(device: str, cards: Sequence[Card], notes: list[str]) -> list[Card]:
    """The cards of the same model as the first; a note names the other models."""
    others = sorted({card.name for card in cards} - {cards[0].name})
    if others:
        notes.append(f"{device}: left out, since of another model than the first, {cards[0].name}: {', '.join(others)}")
    return [card for card in cards if card.name == cards[0].name]


def _spread(
    device: str, groups: Sequence[Group], cards: Sequence[Card], previous_cards: Mapping[Workload, str]
) -> list[Lane]:
    """A lane for each card that gets groups: those that it had before, and others so that the work is balanced."""
    card_indices = {card.uuid: index for index, card in enumerate(cards)}
    load = [0] * len(cards)
    index_of: dict[Workload, int] = {}
    for group in sorted(groups, key=lambda group: (group.workload not in previous_cards, -_work(group))):
        previous_card = previous_cards.get(group.workload)
        if previous_card is not None and previous_card not in card_indices:
            raise UserError(
                f"groups of {device} were measured on {previous_card}, which is missing now; start a new run"
            )
        index = load.index(min(load)) if previous_card is None else card_indices[previous_card]
        index_of[group.workload] = index
        load[index] += _work(group)
    lanes = [
        Lane(device, card, tuple(group for group in groups if index_of[group.workload] == index))
        for index, card in enumerate(cards)
    ]
    busy = [lane for lane in lanes if lane.groups]
    return [replace(lane, is_one_of_several=len(busy) > 1) for lane in busy]


def _work(group: Group) -> int:
    """How long a visit takes relative to others: the time of a case is proportional to its steps."""
    return len(group.cases) * group.workload.seq_len * group.workload.num_layers

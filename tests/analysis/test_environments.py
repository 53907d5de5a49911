"""Which two runs are of one machine and one environment, and what is said of two that are not."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.environments import (
    CARD_FACTS,
    differences,
    identity_differences,
    machine_differences,
    rate_differences,
)
from rnnbench.harness.devices import nvml
from rnnbench.store.run_info import UNKNOWN_HYPERVISOR, Cache, Processor
from tests.doubles.stored import INFO, PROCESSOR, on
from tests.doubles.stored import ceiling as made_up_ceiling


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        (("machine", "cgroup_cpu_limit"), "50000 100000", "cgroup_cpu_limit was None and is '50000 100000'"),
        (("machine", "cgroup_cpu_limit"), "max 100000", None),
        (("machine", "cores_allowed"), [0], "cores was 2 and is 1"),
        (("worker", "torch"), "2.9", "torch was '2.8' and is '2.9'"),
        (("software", "variables"), {"OMP_NUM_THREADS": "2"}, "variables was {} and is {'OMP_NUM_THREADS': '2'}"),
        (("machine", "clock_mhz"), 900, None),
    ],
)
def test_what_changes_a_ratio_though_no_cell_has_changed_is_told(
    where: tuple[str, str], value: Any, expected: str | None
) -> None:
    facts: dict[str, dict[str, Any]] = {
        "machine": {"processor": PROCESSOR.to_json(), "cores_allowed": [0, 1], "clock_mhz": 1000},
        "worker": {"torch": "2.8"},
        "software": {"variables": {}},
    }
    room, key = where
    other = facts | {room: facts[room] | {key: value}}
    base, head = (replace(INFO, environment=environment) for environment in (facts, other))
    assert differences(base, head) == ([expected] if expected else [])


@pytest.mark.parametrize(("base", "head"), [(on(None), on(PROCESSOR)), (on(PROCESSOR), on(None))])
def test_a_run_without_an_identity_is_like_no_other_and_only_that_is_told(base: Any, head: Any) -> None:
    head = replace(head, resolved={"measure": {"windows": 2}})
    told = "the run of 2026-01-01 does not say what machine it is of"
    assert differences(base, head) == machine_differences(base, head) == [told]


def measured(rate: float, spread: float = 0.0, dtype: str = "float32", copies: float = 12.34e9, load: Any = 0.5) -> Any:
    """A run on a machine with measured rates: of a library's products, and of copies."""
    rates = made_up_ceiling("cpu", dtype, 1, rate, [(1024, copies)], 1e-6, None)
    rates = replace(rates, products=(rates.products[0]._replace(spread=spread),))
    info = on(PROCESSOR, [rates.to_json()])
    return replace(info, environment=info.environment | {"load": {"load_average": load}})


@pytest.mark.parametrize(
    ("base", "head", "differ"),
    [
        (measured(100e9), measured(100e9), False),
        (measured(100e9), measured(81e9), False),  # 23% apart, below the floor
        (measured(100e9), measured(79e9), True),
        (measured(79e9), measured(100e9), True),
        (measured(100e9, 0.3), measured(79e9), False),  # within its own spread
        (measured(100e9, 0.2), measured(75e9, 0.2), False),  # within both together
        (measured(100e9, 0.2), measured(60e9, 0.2), True),
        (measured(100e9), measured(50e9, dtype="float64"), False),  # nothing in common
        (measured(100e9), on(PROCESSOR), False),  # not measured
        *((measured(100e9), measured(50e9, load=load), False) for load in (0.6, None, "much")),  # busy, or not known
    ],
)
def test_rates_differ_by_more_than_their_spreads_and_a_floor_on_a_quiet_machine(
    base: Any, head: Any, *, differ: bool
) -> None:
    assert bool(rate_differences(base, head)) == differ
    for tell in (differences, machine_differences):
        assert tell(base, head) == rate_differences(base, head)


def test_the_rate_that_differs_most_is_named() -> None:
    assert rate_differences(measured(127e9), measured(55e9, copies=9e9)) == [
        "products in BLAS reach 55 GMAC/s and reached 127 GMAC/s before (cpu float32, 1 thread)"
    ]
    assert rate_differences(measured(1500e9), measured(1100e9, copies=4e9)) == [
        "copies of 1 KiB reach 4 GB/s and reached 12.34 GB/s before (cpu float32, 1 thread)"
    ]


def test_rates_of_another_torch_say_nothing_about_the_machine() -> None:
    base, head = (
        replace(run, environment=run.environment | {"worker": {"torch": torch}})
        for run, torch in ((measured(127e9), "2.8"), (measured(55e9), "2.9"))
    )
    assert differences(base, head) == ["torch was '2.8' and is '2.9'"]
    assert machine_differences(base, head) == []


def test_a_machine_is_its_cores_and_gpus_too_and_not_its_software() -> None:
    base = on(PROCESSOR)
    machine = base.environment["machine"]
    fewer = replace(base, environment={"machine": machine | {"cores_allowed": [0]}})
    assert machine_differences(base, fewer) == ["cores was 0 and is 1"]
    others = replace(
        base, environment=base.environment | {"worker": {"devices": {"cuda": [{"name": "L4"}]}, "torch": "2.9"}}
    )
    assert machine_differences(base, others) == ["gpus was [] and is ['L4']"]
    assert differences(base, others) == ["gpus was [] and is ['L4']", "torch was None and is '2.9'"]


CARD: dict[str, Any] = {"name": "H100", "uuid": "a", "driver_version": "580", "power_limit_watts": 700.0, "ecc": "on"}


def with_card(listed: str = "H100", **changes: Any) -> Any:
    """A run on a card, on a machine on which the driver lists another one first."""
    base = on(PROCESSOR)
    devices = {"cuda": [{**CARD, **changes}]}
    return replace(base, environment=base.environment | {"worker": {"devices": devices}, "gpu 0": {"name": listed}})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"uuid": "b"}, []),  # another card of the same kind
        ({"listed": "L4"}, []),  # not the one that was used
        ({"name": "H200"}, ["gpus was ['H100'] and is ['H200']"]),
        ({"driver_version": "590"}, ["cuda driver version was '580' and is '590'"]),
        ({"power_limit_watts": 500.0}, ["cuda power limit watts was 700.0 and is 500.0"]),
        ({"ecc": "off"}, ["cuda ecc was 'on' and is 'off'"]),
        ({"mig": "on"}, []),  # which only one of the runs knows
    ],
)
def test_of_several_cards_the_one_that_was_used_is_compared_with_all_that_changes_its_times(
    changes: dict[str, Any], expected: list[str]
) -> None:
    assert machine_differences(with_card(), with_card(**changes)) == expected


def test_a_run_on_the_processor_is_no_other_run_for_a_card_in_the_machine() -> None:
    without, beside = (
        replace(on(PROCESSOR), environment=on(PROCESSOR).environment | {"worker": {"devices": {}}, **gpus})
        for gpus in ({}, {"gpu 0": {"name": "L4"}})
    )
    assert machine_differences(without, beside) == []


@pytest.mark.parametrize(
    "fact", ["mig", "compute_mode", "max_sm_clock_mhz", "max_memory_clock_mhz", "memory_total_bytes"]
)
def test_each_fact_of_a_card_that_nvml_tells_is_compared(fact: str) -> None:
    assert {*CARD_FACTS} == nvml.FIXED_READINGS - {"name"}
    base, head = (with_card("H100", **{fact: value}) for value in (1, 2))
    [told] = machine_differences(base, head)
    assert told == f"cuda {fact.replace('_', ' ')} was 1 and is 2"


SMALLER = Cache(3, "unified", 16 << 20, 4)


def told(then: Processor, now: Processor) -> list[str]:
    return identity_differences(on(then), on(now))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model": "207"}, ["processor model was 17 and is 207"]),
        ({"model": "207", "stepping": "2", "caches": (SMALLER,)}, ["processor model was 17 and is 207"]),
        ({"stepping": "2"}, ["processor stepping was 1 and is 2"]),
        (
            {"family": "26", "model": "2", "stepping": "9", "microcode": "0xb", "instruction_sets": ("avx512f",)},
            ["processor was A Processor (family 25, model 17) and is A Processor (family 26, model 2)"],
        ),
        (
            {"name": "Neoverse V1", "vendor": "ARM", "family": "8", "model": "0xd40"},
            ["processor was A Processor (family 25, model 17) and is Neoverse V1 (family 8, model 0xd40)"],
        ),
        ({"instruction_sets": ("avx2", "avx512f", "fma")}, ["processor instruction sets was none and is avx512f"]),
        (
            {"instruction_sets": ("amx_tile", "avx", "avx512f")},
            ["processor instruction sets was avx2, fma and is amx_tile, avx, avx512f"],
        ),
        (
            {"caches": (SMALLER,)},
            ["processor caches was L3 unified 32,768 KiB for 8 and is L3 unified 16,384 KiB for 4"],
        ),
        (
            {"caches": (*PROCESSOR.caches, Cache(1, "data", 32 << 10, 1))},
            ["processor caches was none and is L1 data 32 KiB for 1"],
        ),
        ({"microcode": "0xb"}, []),  # not known of the other
        ({"caches": ()}, []),
        ({"hypervisor": UNKNOWN_HYPERVISOR}, ["processor hypervisor was none and is unknown hypervisor"]),
        ({"hypervisor": "KVM"}, ["processor hypervisor was none and is KVM"]),
        (
            {"stepping": "2", "hypervisor": "KVM"},
            ["processor stepping was 1 and is 2", "processor hypervisor was none and is KVM"],
        ),
    ],
)
def test_each_difference_is_told_and_another_processor_in_one_clause(
    change: dict[str, Any], expected: list[str]
) -> None:
    assert told(PROCESSOR, replace(PROCESSOR, **change)) == expected
    assert bool(told(replace(PROCESSOR, **change), PROCESSOR)) == bool(expected)


@pytest.mark.parametrize(
    ("name", "expected"), [("Xen", ["processor hypervisor was KVM and is Xen"]), (UNKNOWN_HYPERVISOR, [])]
)
def test_two_hypervisors_differ_where_both_have_a_name(name: str, expected: list[str]) -> None:
    first, second = (replace(PROCESSOR, hypervisor=hypervisor) for hypervisor in ("KVM", name))
    assert told(first, second) == expected


words = st.sampled_from(["", "a", "b"])
known = st.none() | words
caches = st.builds(Cache, st.integers(1, 3), words, st.integers(0, 1 << 40), st.integers(1, 2))
processors = st.builds(
    Processor,
    **{field.name: known for field in fields(Processor)}
    | {"instruction_sets": st.lists(words).map(tuple), "caches": st.lists(caches, max_size=3).map(tuple)},
)


@given(processors, processors)
def test_a_processor_is_like_itself_and_two_differ_in_both_directions(one: Processor, other: Processor) -> None:
    assert told(one, one) == []
    assert bool(told(one, other)) == bool(told(other, one))
    assert Processor.from_json(one.to_json()) == one

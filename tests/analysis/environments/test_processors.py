"""What is said of two processors that differ."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnbench.analysis.environments.processors import processor_differences
from rnnbench.store.processor import UNKNOWN_HYPERVISOR, Cache, Processor
from tests.doubles.stored import PROCESSOR

SMALLER = Cache(3, "unified", 16 << 20, 4)


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
        ({"instruction_sets": ("avx2", "avx512f", "fma")}, ["instruction sets gained avx512f"]),
        (
            {"instruction_sets": ("amx_tile", "avx", "avx_vnni", "avx512f", "f16c")},
            ["instruction sets lost avx2, fma and gained amx_tile, avx, avx512f, 2 more"],
        ),
        ({"caches": (SMALLER,)}, ["level 3 unified cache was 32,768 KiB for 8 cores and is 16,384 KiB for 4 cores"]),
        (
            {"caches": (*PROCESSOR.caches, Cache(1, "data", 32 << 10, 1))},
            ["level 1 data cache was absent and is 32 KiB for 1 core"],
        ),
        ({"microcode": "0xb"}, []),  # not known of the other
        ({"caches": ()}, []),
        ({"hypervisor": UNKNOWN_HYPERVISOR}, ["hypervisor was none and is unknown hypervisor"]),
        ({"hypervisor": "KVM"}, ["hypervisor was none and is KVM"]),
        (
            {"stepping": "2", "hypervisor": "KVM"},
            ["processor stepping was 1 and is 2", "hypervisor was none and is KVM"],
        ),
        ({"stepping": "2\n\x1b[31m"}, ["processor stepping was 1 and is 2\ufffd\ufffd[31m"]),
    ],
)
def test_each_difference_is_told_and_another_processor_in_one_clause(
    change: dict[str, Any], expected: list[str]
) -> None:
    assert processor_differences(PROCESSOR, replace(PROCESSOR, **change)) == expected
    assert bool(processor_differences(replace(PROCESSOR, **change), PROCESSOR)) == bool(expected)


@pytest.mark.parametrize(("name", "expected"), [("Xen", ["hypervisor was KVM and is Xen"]), (UNKNOWN_HYPERVISOR, [])])
def test_two_hypervisors_differ_where_both_have_a_name(name: str, expected: list[str]) -> None:
    first, second = (replace(PROCESSOR, hypervisor=hypervisor) for hypervisor in ("KVM", name))
    assert processor_differences(first, second) == expected


def test_microcode_is_compared_where_both_know_it() -> None:
    first, second = (replace(PROCESSOR, microcode=version) for version in ("0xa", "0xb"))
    assert processor_differences(first, second) == ["microcode was 0xa and is 0xb"]


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
    assert processor_differences(one, one) == []
    assert bool(processor_differences(one, other)) == bool(processor_differences(other, one))
    assert len(processor_differences(one, other)) <= 5
    assert Processor.from_json(one.to_json()) == one
